"""Where things lie on one machine: everything below the repository's ``var/`` (or ``F1_VAR``, for tests)."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Folders and files of one local installation. ``root`` is created on demand; nothing is written outside it."""

    root: Path

    @classmethod
    def default(cls) -> Places:
        """``var/`` of the repository, unless the environment's ``F1_VAR`` names another folder."""
        return cls(root=Path(os.environ.get("F1_VAR") or REPOSITORY / "var").resolve())

    def folder(self, name: str) -> Path:
        """``root/name``, created."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.folder("log")

    @property
    def last_run(self) -> Path:
        """What the last run produced, for scripts."""
        return self.root / "last_run.json"

    @property
    def stack_file(self) -> Path:
        """Says that ``make up`` holds a stack up, and where."""
        return self.root / "stack.json"

    @property
    def storage_uri(self) -> str:
        """What is a bucket on Google Cloud."""
        return f"file://{self.folder('storage')}"


def python() -> str:
    """The interpreter of the environment that runs us; its siblings are the command-line tools we start."""
    return sys.executable


def tool(name: str) -> str:
    """The command-line tool ``name`` of the same environment."""
    return str(Path(sys.executable).parent / name)
