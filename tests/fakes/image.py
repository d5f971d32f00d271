"""An image's file system above its base, assembled from the Dockerfile's own steps without a container engine.

What it cannot do by itself (Debian's packages, accounts) it notes; a step that it does not know is an error, so that a
new one is never left out unseen.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "composer" / "images" / "Dockerfile"
IGNORED = DOCKERFILE.with_name("Dockerfile.dockerignore")
VARIABLE = re.compile(r"\$\{?(\w+)\}?")
BYTECODE = ("PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE")
STEP_S = 300


class AssemblyError(Exception):
    """A step of the Dockerfile that cannot be done, or is not known, here."""


@dataclass
class Image:
    """A stage: its files below ``root``, and what its configuration says. ``packages`` are Debian's."""

    root: Path
    base: str
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    packages: list[str] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)
    user: str = "0"
    workdir: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def path(self, inside: str) -> Path:
        """Where the image's ``inside`` is."""
        return self.root / inside.lstrip("/")

    def bytes(self) -> int:
        """Its files, as a layer holds them."""
        files = (p for p in self.root.rglob("*") if p.is_file() and not p.is_symlink())
        return sum({(s := p.stat()).st_ino: s.st_size for p in files}.values())

    def largest(self, count: int = 10) -> str:
        """The folders that hold most, for a message."""
        found = {p.name: _bytes(p) for p in self.path("/opt/venv/lib/python3.11/site-packages").iterdir()}
        heaviest = sorted(found.items(), key=lambda item: -item[1])[:count]
        return ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in heaviest)


def assemble(target: str, folder: Path, arguments: Mapping[str, str] | None = None) -> Image:
    """Stage ``target`` of the Dockerfile, each stage that it needs below ``folder``.

    Raises:
        AssemblyError: naming the step.
    """
    return Assembly(folder, dict(arguments or {})).stage(target)


class Assembly:
    """The stages that were made so far, below ``folder``; ``arguments`` are build arguments."""

    def __init__(self, folder: Path, arguments: dict[str, str]) -> None:
        self._folder, self._arguments = folder, arguments
        self._steps: dict[str, list[tuple[str, str]]] = {}
        self._made: dict[str, Image] = {}
        self._defaults: dict[str, str] = {}
        name = ""
        for step in DockerfileParser(str(DOCKERFILE)).structure:
            word, value = step["instruction"], step["value"]
            if word == "COMMENT":
                continue
            if word == "FROM":
                name = value.split()[-1]
                self._steps[name] = []
            if name:
                self._steps[name].append((word, value))
            elif word == "ARG":
                self._defaults |= dict([value.split("=", 1)])

    def stage(self, name: str) -> Image:
        """Stage ``name``, made once, and whatever it needs."""
        if name in self._made:
            return self._made[name]
        if name not in self._steps:
            raise AssemblyError(f"{DOCKERFILE}: there is no stage {name!r}; they are {', '.join(self._steps)}")
        (_, from_), *steps = self._steps[name]
        image = self._made[name] = self._begin(name, from_.split()[0])
        scope: dict[str, str] = {}
        for word, value in steps:
            handler = getattr(self, f"_{word.lower()}", None)
            if handler is None:
                raise AssemblyError(f"{DOCKERFILE}: {word} {value}: not known here")
            handler(image, value, scope)
        return image

    def _begin(self, name: str, base: str) -> Image:
        root = self._folder / name
        if base in self._steps:
            parent = self.stage(base)
            shutil.copytree(parent.root, root, symlinks=True, copy_function=os.link)
            values = {k: v.copy() if isinstance(v, (dict, list)) else v for k, v in vars(parent).items()}
            return Image(**{**values, "root": root})
        root.mkdir(parents=True)
        return Image(root=root, base=VARIABLE.sub(lambda m: self._defaults[m[1]], base))

    def _arg(self, image: Image, value: str, scope: dict[str, str]) -> None:
        name, _, default = value.partition("=")
        scope[name] = self._arguments.get(name, default)

    def _env(self, image: Image, value: str, scope: dict[str, str]) -> None:
        image.environment |= _pairs(value, scope)

    def _label(self, image: Image, value: str, scope: dict[str, str]) -> None:
        image.labels |= _pairs(value, scope)

    def _workdir(self, image: Image, value: str, scope: dict[str, str]) -> None:
        image.workdir = value
        image.path(value).mkdir(parents=True, exist_ok=True)

    def _user(self, image: Image, value: str, scope: dict[str, str]) -> None:
        image.user = value

    def _entrypoint(self, image: Image, value: str, scope: dict[str, str]) -> None:
        image.entrypoint = [word.strip('"') for word in value.strip("[]").split(", ")]

    def _cmd(self, image: Image, value: str, scope: dict[str, str]) -> None:
        image.command = [word.strip('"') for word in value.strip("[]").split(", ")]

    def _copy(self, image: Image, value: str, scope: dict[str, str]) -> None:
        words = value.split()
        origin = REPOSITORY
        if words[0].startswith("--from="):
            origin = self.stage(words.pop(0).removeprefix("--from=")).root
        source, target = words
        _copy_into(origin / source.lstrip("/"), image.path(target), filtered=origin == REPOSITORY)

    def _run(self, image: Image, value: str, scope: dict[str, str]) -> None:
        for command in re.sub(r"--mount=\S+", "", value).split("&&"):
            self._one(image, shlex.split(command))

    def _one(self, image: Image, words: Sequence[str]) -> None:
        inside = [str(image.path(w)) if w.startswith(("/opt/", "/build/")) else w for w in words]
        match words:
            case ["python", "-m", "venv", *_]:
                _do([sys.executable, *inside[1:]])
            case ["python", "-m", "pip", "--python", _, "install", *_]:
                # The same command of uv, whose cache `make test` has filled already.
                options = [o for o in inside[6:] if o not in ("--no-cache-dir", "--no-compile")]
                _do([_uv(), "pip", "install", "--quiet", "--python", inside[4], *options])
            case ["python", "-m", "compileall", *_]:
                _do([sys.executable, *inside[1:]])
            case ["apt-get", "install", *names]:
                image.packages += [n for n in names if not n.startswith("--")]
            case ["groupadd" | "useradd", *_]:
                image.accounts.append(" ".join(words))
            case ["mkdir", "-p", folder]:
                image.path(folder).mkdir(parents=True, exist_ok=True)
            case ["echo", text, ">", path]:
                image.path(path).write_text(f"{text}\n")
            case ["python", "-m", "pip", "uninstall", *_]:
                pass  # the base's own
            case ["apt-get", "update"] | ["rm", "-rf", "/var/lib/apt/lists/*"]:
                pass
            case _:
                raise AssemblyError(f"{DOCKERFILE}: RUN {' '.join(words)}: not known here")


def _pairs(value: str, scope: Mapping[str, str]) -> dict[str, str]:
    pairs = (word.split("=", 1) for word in shlex.split(value))
    return {name: VARIABLE.sub(lambda m: scope.get(m[1], ""), text) for name, text in pairs}


def _copy_into(source: Path, target: Path, *, filtered: bool) -> None:
    if filtered and not _is_sent(source):
        raise AssemblyError(f"{source} is not part of the build: {IGNORED.name} leaves it out")
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return
    bytecode = shutil.ignore_patterns("__pycache__", "*.pyc") if filtered else None
    copy = shutil.copyfile if filtered else os.link
    shutil.copytree(source, target, symlinks=True, ignore=bytecode, copy_function=copy, dirs_exist_ok=True)


def _is_sent(path: Path) -> bool:
    """Whether the build gets ``path`` of the repository, by the rules of the ignore file; the last that fits counts."""
    sent, name = True, str(path.relative_to(REPOSITORY))
    for line in IGNORED.read_text().splitlines():
        rule = line.strip()
        if rule and not rule.startswith("#"):
            pattern = rule.lstrip("!").replace("**/", "*")
            if fnmatch.fnmatch(name, pattern) or name.startswith(f"{pattern}/"):
                sent = rule.startswith("!")
    return sent


def _do(command: Sequence[str]) -> None:
    # Bytecode belongs into the image, whatever holds for this repository.
    environment = {name: value for name, value in os.environ.items() if name not in BYTECODE}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=STEP_S, check=False)
    if done.returncode:
        raise AssemblyError(f"{' '.join(command)}: {done.stderr or done.stdout}")


def _uv() -> str:
    found = shutil.which("uv") or Path(sys.executable).parent / "uv"
    return str(found)


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path.stat().st_size
