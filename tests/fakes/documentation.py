"""The pages of the repository as a test sees them: blocks, commands, marks, links, headings.

A fence says what it holds: nothing for commands, ``text`` for output and pictures, or a language. A mark is a comment
before a block, a paragraph, a list or a table, and covers the commands in it; see :data:`MARK`.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from composer.monitoring.dashboard import anchor

REPOSITORY = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "composer/*/README.md")

#: What a comment must say to be a mark: that something is needed, or takes long, and why; or which tests run it.
MARK = re.compile(
    r"(Needs (Google Cloud|a cluster|a container engine)|Takes long): \S.*|.*\b(run|Run|Read) by tests/.*"
)
#: A mark that covers a page's blocks up to a heading.
EVERYTHING = re.compile(r'Everything .* up to "([^"]+)" is run by ')
FENCE = re.compile(r"\s*```(\S*)\s*$")
COMMENT = re.compile(r"\s*<!--\s*(.*?)\s*-->\s*$")
HEADING = re.compile(r"(#+) (.*)$")
SPAN = re.compile(r"(`+)(.+?)\1", re.DOTALL)
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
ASSIGNED = re.compile(r"[A-Z][A-Z0-9_]*=.*", re.DOTALL)
PROGRAMS = frozenset(
    "airflow bq cp curl docker gcloud git kubectl make pip promtool python terraform twine uv .venv/bin/python".split()
)


@dataclass(frozen=True, kw_only=True)
class Text:
    """A block or a code span: where it is, what it says, and the mark that covers it ("" for none)."""

    page: str
    line: int
    text: str
    mark: str = ""
    language: str = ""

    @property
    def place(self) -> str:
        """Where to look."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command as it is documented. ``words`` are the shell's, without assignments before and comments behind."""

    source: Text
    words: tuple[str, ...]
    environment: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where to look."""
        return self.source.place

    @property
    def target(self) -> str:
        """Of ``make``; "" for another program."""
        return next((w for w in self.words[1:] if "=" not in w), "") if self.words[0] == "make" else ""

    @property
    def variables(self) -> dict[str, str]:
        """What is given to ``make``, beside it or in the environment."""
        given = [*self.environment, *(word for word in self.words[1:] if "=" in word)]
        return dict(word.split("=", 1) for word in given)

    @property
    def module(self) -> str:
        """Of ``python -m``; "" for another program."""
        is_module = self.words[0].endswith("python") and self.words[1:2] == ("-m",) and len(self.words) > 2
        return self.words[2] if is_module else ""


@dataclass(kw_only=True)
class Page:
    """One page: what it shows, names and links to."""

    name: str
    blocks: list[Text] = field(default_factory=list)
    spans: list[Text] = field(default_factory=list)
    links: list[Text] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)

    @property
    def anchors(self) -> set[str]:
        """What links may name after a ``#``, as GitHub and GitLab make it of headings."""
        found: set[str] = set()
        for heading in self.headings:
            plain = anchor(heading)
            number = next(n for n in range(99) if (f"{plain}-{n}" if n else plain) not in found)
            found.add(f"{plain}-{number}" if number else plain)
        return found

    @property
    def commands(self) -> list[Command]:
        """Those of blocks, a command a line, and those in the text."""
        lines = [line for block in self.blocks if not block.language for line in block_lines(block)]
        found = (command(text) for text in [*lines, *self.spans])
        return [one for one in found if one is not None]


def block_lines(block: Text) -> list[Text]:
    """The lines of a block, one that goes on after a backslash as one."""
    found, begun = [], ""
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        begun += line.strip().removesuffix("\\")
        if begun and not line.endswith("\\"):
            found.append(replace(block, line=number, text=begun))
            begun = ""
    return found


def command(source: Text) -> Command | None:
    """``source`` as a command; None where it is none."""
    try:
        words = shlex.split(source.text, comments=True)
    except ValueError:
        return None
    ahead = 0
    while ahead < len(words) and ASSIGNED.fullmatch(words[ahead]):
        ahead += 1
    rest = tuple(word for word in words[ahead:] if word != "...")
    if len(rest) < 2 or rest[0] not in PROGRAMS:
        return None
    return Command(source=source, words=rest, environment=tuple(words[:ahead]))


def page_names() -> list[str]:
    """Every page that is held to this, by its path in the repository."""
    return sorted(str(path.relative_to(REPOSITORY)) for glob in PAGES for path in REPOSITORY.glob(glob))


@functools.cache
def page(name: str) -> Page:
    """The page at ``name``."""
    return parse(name, (REPOSITORY / name).read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Page:
    """A page of ``text``."""
    found, lines = Page(name=name), text.splitlines()
    everything, until, mark, number = "", "", "", 0
    while number < len(lines):
        line = lines[number]
        if not line.strip():
            mark, number = "", number + 1
        elif comment := COMMENT.match(line):
            if section := EVERYTHING.match(comment[1]):
                everything, until = comment[1], section[1]
            elif MARK.fullmatch(comment[1]):
                mark = comment[1]
            number += 1
        elif fence := FENCE.match(line):
            end = next(n for n in range(number + 1, len(lines)) if FENCE.match(lines[n]))
            block = "\n".join(lines[number + 1 : end])
            covered = mark or everything
            found.blocks.append(Text(page=name, line=number + 1, text=block, mark=covered, language=fence[1]))
            mark, number = "", end + 1
        elif heading := HEADING.match(line):
            found.headings.append(heading[2])
            everything = "" if until == heading[2] else everything
            _read_text(found, number, [line], "")
            number += 1
        else:
            end = number + 1
            while (
                end < len(lines) and lines[end].strip() and not (FENCE.match(lines[end]) or COMMENT.match(lines[end]))
            ):
                end += 1
            _read_text(found, number, lines[number:end], mark)
            mark, number = "", end
    return found


def _read_text(found: Page, number: int, lines: list[str], mark: str) -> None:
    """The code spans and links of a paragraph, which may go on over a line's end."""
    text = "\n".join(lines)

    def at(position: int) -> int:
        return number + 1 + text.count("\n", 0, position)

    for span in SPAN.finditer(text):
        inner = re.sub(r"\s+", " ", span[2]).strip()
        found.spans.append(Text(page=found.name, line=at(span.start()), text=inner, mark=mark))
    for link in LINK.finditer(text):
        found.links.append(Text(page=found.name, line=at(link.start()), text=link[1], mark=mark))


def named_tests(mark: str) -> Iterator[str]:
    """The tests that a mark names: files or folders."""
    for name in re.findall(r"\btests/[\w/]+(?:\.py)?", mark):
        yield name.rstrip("/")
