"""Processes that end with us: each in its own session, watched, stopped in reverse order, and never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
MARK = "F1_TRAINING_SUPERVISOR"
_libc = ctypes.CDLL(None, use_errno=True)


class ProcessFailedError(Exception):
    """A process of the stack ended although it should run; the message has the end of its log."""


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One running process and its log."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path, *, vital: bool = True) -> None:
        self.name = name
        self.process = process
        self.log = log
        self.vital = vital

    def check(self) -> None:
        """Raise :class:`ProcessFailedError` if the process has ended."""
        code = self.process.poll()
        if code is not None:
            raise ProcessFailedError(f"{self.name} ended with code {code}; the end of {self.log}:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        """The last lines of the log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""


class Supervisor:
    """Starts processes and, on exit, stops them and whatever they started.

    It makes this process the reaper of orphans: a task whose Airflow parent is gone becomes our child, and is found.
    If this process itself is killed, every child gets SIGTERM from the kernel.
    """

    def __init__(self, logs: Path, *, grace_s: float = 10.0) -> None:
        self._logs = logs
        self._grace_s = grace_s
        self._children: list[Child] = []
        self._mark = uuid.uuid4().hex
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], cwd: Path, *, vital: bool = True
    ) -> Child:
        """Start ``command``; its output goes to ``<logs>/<name>.log``. What is not vital may end by itself."""
        log = self._logs / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                list(command),
                env={**environment, MARK: self._mark},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        child = Child(name, process, log, vital=vital)
        self._children.append(child)
        return child

    def check(self) -> None:
        """Raise :class:`ProcessFailedError` if any vital process has ended."""
        for child in self._children:
            if child.vital:
                child.check()

    def stop(self) -> None:
        """SIGTERM in reverse order of start, SIGKILL after the grace; then whatever they left behind."""
        descendants = self._descendants()
        for child in reversed(self._children):
            with contextlib.suppress(ProcessLookupError):
                child.process.terminate()
        deadline = time.monotonic() + self._grace_s
        for child in reversed(self._children):
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.process.pid, signal.SIGKILL)
                child.process.wait()
        self._children.clear()
        left = {p for p in {*descendants, *self._descendants()} if p.is_running()}
        _, alive = psutil.wait_procs(left, timeout=1.0)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=5.0)

    def _descendants(self) -> set[psutil.Process]:
        """What we started and what that started; others' children are left alone.

        By ancestry, and for orphans that became our children by the mark in their environment: a process that writes
        its own title (Airflow's do) overwrites the mark.
        """
        found: set[psutil.Process] = set()
        for child in self._children:
            with contextlib.suppress(psutil.Error):
                found |= set(psutil.Process(child.process.pid).children(recursive=True))
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == self._mark:
                    found.add(process)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
