"""What the pages link to and name is there: files, headings, tests, modules; and the parser that reads the pages."""

from __future__ import annotations

import functools
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.documentation import REPOSITORY, Page, Text, page, page_names, parse

PAGES = [*page_names(), "CHANGELOG.md"]
#: A path of the repository begins with one of its folders, or is one of its files.
FOLDERS = (".ci", "composer", "dags", "docs", "include", "plugins", "requirements", "tests", "trainer")
PATH = re.compile(rf"(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*|[\w.-]+\.(?:md|toml|txt|py)")
BESIDE = re.compile(r"[\w-]+/[\w./-]*\.(?:yaml|tf|sql|toml|py)")
MODULE = re.compile(r"(?:trainer|f1_training|composer|tests)(?:\.\w+)+")
#: What somebody makes by following the page, and what lies in a bucket.
ELSEWHERE = frozenset(
    """composer/k8s/overlays/prod composer/k8s/serving/overlays/prod composer/terraform/production.tfvars
    overlays/prod/kustomization.yaml dags/f1_training settings.json packages.txt
    trainer/contract/models/brake_wear.toml brake_wear.toml""".split()
)


@functools.cache
def files() -> frozenset[str]:
    """The names of all files in the repository's folders."""
    walked = (os.walk(REPOSITORY / folder) for folder in FOLDERS)
    return frozenset(name for folder in walked for *_, names in folder for name in names)


def named(found: Page, pattern: re.Pattern[str]) -> Iterator[Text]:
    yield from (span for span in found.spans if pattern.fullmatch(span.text.partition("::")[0]))


def link_problems(found: Page) -> Iterator[str]:
    """Links to what is not there."""
    folder = REPOSITORY / posixpath.dirname(found.name)
    for link in found.links:
        target, _, anchor = link.text.partition("#")
        if target.startswith(("http://", "https://")):
            continue
        place = Path(os.path.normpath(folder / target))
        if target and not place.exists():
            yield f"{link.place}: {link.text} is not there"
        elif anchor:
            there = (page(str(place.relative_to(REPOSITORY))) if target else found).anchors
            if anchor not in there:
                yield f"{link.place}: {link.text} is no heading; there are {sorted(there)}"


def path_problems(found: Page) -> Iterator[str]:
    """Paths of the repository, and tests in them, that are not there."""
    linked = tuple(link.text for link in found.links)
    for span in {span: None for pattern in (PATH, BESIDE) for span in named(found, pattern)}:
        path, _, test = span.text.partition("::")
        if path.rstrip("/") in ELSEWHERE or any(link.endswith(path) for link in linked) or path in files():
            continue
        bases = (REPOSITORY, REPOSITORY / posixpath.dirname(found.name))
        if not any(_matches(base, path) for base in bases):
            yield f"{span.place}: {path} is not there"
        elif test and not re.search(rf"^(async )?def {test}\(", (REPOSITORY / path).read_text(), re.MULTILINE):
            yield f"{span.place}: {path} has no {test}"


def _matches(base: Path, path: str) -> bool:
    return any(base.glob(path.rstrip("/"))) if "*" in path else (base / path).exists()


def module_problems(found: Page) -> Iterator[str]:
    """Modules, and what is in them, that are not there."""
    for span in named(found, MODULE):
        parts = span.text.split(".")
        root = REPOSITORY / ("plugins" if parts[0] == "f1_training" else "")
        places = [root.joinpath(*parts[:end]) for end in range(len(parts), 1, -1)]
        place = next((p for p in places if p.is_dir() or p.with_suffix(".py").exists()), None)
        if place is None:
            yield f"{span.place}: there is no module {span.text}"
            continue
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        rest = parts[len(place.relative_to(root).parts) :]
        if rest and not re.search(rf"\b{rest[0]}\b", file.read_text() if file.exists() else ""):
            yield f"{span.place}: {file.relative_to(REPOSITORY)} knows no {rest[0]}"


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    assert list(link_problems(page(name))) == []


@pytest.mark.parametrize("name", page_names())
def test_every_path_and_module_that_is_named_is_there(name: str) -> None:
    # Google's permissions look like modules: composer.environments.get.
    modules = module_problems(page(name)) if name != "docs/permissions.md" else ()
    assert [*path_problems(page(name)), *modules] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[x](nowhere.md)", "docs/p.md:1: nowhere.md is not there"),
        ("[x](../README.md#nowhere)", "docs/p.md:1: ../README.md#nowhere is no heading"),
        ("# It\n[x](#nowhere)", "docs/p.md:2: #nowhere is no heading"),
        ("`trainer/nothing.py`", "docs/p.md:1: trainer/nothing.py is not there"),
        ("`tests/nothing/*.py`", "docs/p.md:1: tests/nothing/*.py is not there"),
        ("`modules/nothing.tf`", "docs/p.md:1: modules/nothing.tf is not there"),
        ("`tests/conftest.py::test_it`", "docs/p.md:1: tests/conftest.py has no test_it"),
        ("`trainer.nothing`", "docs/p.md:1: there is no module trainer.nothing"),
        ("`trainer.contract.nothing`", "docs/p.md:1: trainer/contract/__init__.py knows no nothing"),
    ],
)
def test_what_is_not_there_is_noticed(text: str, problem: str) -> None:
    found = parse("docs/p.md", text)
    problems = [*link_problems(found), *path_problems(found), *module_problems(found)]
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_a_page_is_read_as_it_is_written() -> None:
    text = (
        "# A `b`, c!\n\nSee [x](y.md#z) and `make\ntest`.\n\n## A `b`, c!\n\n<!-- Takes long: an hour. -->\n```\n"
        "make bench \\\n  SCALE=full   # all\nmake chaos\n```\n\nplain `x/y.py`\n\n```json\n{}\n```\n"
    )
    found = parse("p.md", text)
    assert found.anchors == {"a-b-c", "a-b-c-1"}
    assert [(link.text, link.line) for link in found.links] == [("y.md#z", 3)]
    assert [(c.words, c.source.line, bool(c.source.mark)) for c in found.commands] == [
        (("make", "bench", "SCALE=full"), 11, True),
        (("make", "chaos"), 12, True),
        (("make", "test"), 3, False),
    ]
    assert [(b.language, bool(b.mark)) for b in found.blocks] == [("", True), ("json", False)]
