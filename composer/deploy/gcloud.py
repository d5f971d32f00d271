"""Other programs, one way to call them: with a deadline, and an error that says what was called and what it said."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: An update of an environment's packages takes up to an hour.
LONGEST_S = 5400.0
#: What of a program's complaints is shown.
LINES = 12
MISSING = ("NOT_FOUND", "not found", "matched no objects", "One or more URLs matched no objects", "HTTPError 404")


class DeployError(Exception):
    """The deployment cannot go on. The message names the thing and the fix."""


class CommandError(DeployError):
    """A program failed. ``missing`` says that what it was asked for is not there."""

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Runs programs of ``PATH``. ``say`` is told each that changes something; those that only look are silent."""

    say: Callable[[str], None]
    timeout_s: float = LONGEST_S
    environment: Mapping[str, str] = field(default_factory=dict)

    def look(self, command: Sequence[str]) -> str:
        """What ``command``, which changes nothing, prints.

        Raises:
            CommandError: it failed; ``missing`` where it says that there is no such thing.
        """
        return self._run(command, {}, None)

    def change(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> str:
        """Run ``command`` in ``folder``; ``environment`` has what must not be seen, such as a token.

        Raises:
            CommandError: it failed.
        """
        self.say(f"  $ {shown(command)}")
        return self._run(command, environment or {}, folder)

    def json(self, command: Sequence[str]) -> Any:
        """What ``command``, which changes nothing, answers with ``--format=json``; None where there is no such thing.

        Raises:
            CommandError: it failed for another reason, or answered no JSON.
        """
        try:
            text = self.look([*command, "--format=json"])
        except CommandError as e:
            if e.missing:
                return None
            raise
        try:
            return json.loads(text)
        except ValueError as e:
            raise CommandError(f"`{shown(command)}` answered no JSON: {text[:200]!r}") from e

    def _run(self, command: Sequence[str], environment: Mapping[str, str], folder: Path | None) -> str:
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env={**os.environ, **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self.timeout_s,
                check=False,
            )
        except FileNotFoundError as e:
            fix = "install the Google Cloud CLI" if command[0] == "gcloud" else "install it"
            raise CommandError(f"{command[0]} is not on PATH; {fix}") from e
        except subprocess.TimeoutExpired as e:
            raise CommandError(f"`{shown(command)}` did not end within {self.timeout_s:.0f} s") from e
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            tail = "\n".join(said.splitlines()[-LINES:])
            missing = any(word in said for word in MISSING)
            raise CommandError(f"`{shown(command)}` ended with {done.returncode}:\n{tail}", missing=missing)
        return done.stdout


def shown(command: Sequence[str]) -> str:
    """As one would type it."""
    return shlex.join(command)
