"""Drive a rank process: :class:`RankProcess` starts it, gives it commands, and can kill it at any moment."""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trainer.contract import FailureReason, TrainingFailure
from trainer.rank.fork_server import NO_VARIABLES, ForkServer
from trainer.rank.frames import EndOfFrames, Frames

STDERR_LINES = 20
SHOWN_LINES = 3
#: How long an orderly end may take, and what is left of a process that was killed.
CLOSE_S = 5.0


class RankDied(Exception):
    """The process is gone. ``code`` is its exit code, negative for a signal, None when it is not known."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class RankTimeout(Exception):
    """There was no reply in time; the process has been killed."""


class RankProcess:
    """A running rank. One command at a time; ``kill`` and ``hold`` may come from any thread.

    Args:
        cache_dir: folder for shards, kept between processes.
        server: forks it; without one it gets a server of its own, with ``environment`` variables in addition to this
            process's own.
    """

    def __init__(
        self, *, cache_dir: Path, server: ForkServer | None = None, environment: Mapping[str, str] = NO_VARIABLES
    ) -> None:
        self._own_server = None if server else ForkServer(environment)
        self._server = server or self._own_server
        assert self._server is not None
        forked = self._server.fork(cache_dir)
        self.pid = forked.pid
        self._code: int | None = None
        self._connection = forked.connection
        self._frames = Frames(forked.connection)
        self._busy = threading.RLock()
        self._held: queue.Queue[tuple[int, int]] = queue.Queue()
        self._said: collections.deque[str] = collections.deque(maxlen=STDERR_LINES)
        self._listener = threading.Thread(
            target=self._listen, args=(forked.output,), name=f"rank-{self.pid}-stderr", daemon=True
        )
        self._listener.start()

    def call(
        self,
        command: str,
        arguments: Mapping[str, Any] = MappingProxyType({}),
        payload: bytes = b"",
        *,
        timeout_s: float,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> tuple[dict[str, Any], bytes]:
        """Give ``command`` and wait for its reply and payload.

        Raises:
            RankDied: the process is gone.
            RankTimeout: there was no reply within ``timeout_s``.
            TrainingFailure: what the rank says went wrong; ``Bug`` with a traceback for what it did not expect.
        """
        with self._busy:
            deadline = time.monotonic() + timeout_s
            try:
                self._frames.send({"command": command, "arguments": dict(arguments)}, payload, deadline)
                while True:
                    header, body = self._frames.receive(deadline)
                    if header["kind"] in ("reply", "failure"):
                        break
                    if header["kind"] == "held":
                        self._held.put((header["segment"], header["rounds"]))
                    elif on_progress is not None:
                        on_progress(header["report"])
            except TimeoutError as e:
                self.kill()
                raise RankTimeout(f"process {self.pid} did not answer {command!r} within {timeout_s:.3g} s") from e
            except EndOfFrames as e:
                raise self._died(command) from e
        if header["kind"] == "failure":
            raise TrainingFailure(FailureReason(header["reason"]), header["message"])
        return header["reply"], body

    def hold(self, segment: int, within_s: float) -> int | None:
        """Hold the running ``segment`` at the end of its round: see :class:`trainer.rank.gate.Gate`.

        Returns how many rounds that makes, or None when no segment runs or the process does not answer in time.
        """
        try:
            self._frames.send({"command": "hold", "arguments": {"segment": segment}}, deadline=None)
            while True:
                held, rounds = self._held.get(timeout=within_s)
                if held == segment:  # and not an answer that came too late for an earlier one
                    return rounds
        except (EndOfFrames, TimeoutError, queue.Empty):
            return None

    def until(self, segment: int, rounds: int) -> None:
        """End the held ``segment`` after ``rounds`` rounds."""
        with contextlib.suppress(EndOfFrames, TimeoutError):
            self._frames.send({"command": "until", "arguments": {"segment": segment, "rounds": rounds}}, deadline=None)

    def kill(self) -> None:
        """SIGKILL, and reap. A ``call`` in another thread then raises :class:`RankDied`."""
        self._signal()
        self._end()

    def close(self) -> None:
        """Let it end by itself, which it does when its socket closes; SIGKILL if it does not."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        if self._reaped(CLOSE_S) is None:
            self._signal()
        self._end()

    def _signal(self) -> None:
        # Until it is reaped, its number is nobody else's.
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _reaped(self, within_s: float) -> int | None:
        """The exit code, asked for once; None while it runs, or when its server died and took it along."""
        if self._code is None and self._server is not None:
            with contextlib.suppress(OSError):
                self._code = self._server.reap(self.pid, within_s)
        return self._code

    def _end(self) -> None:
        # A process in the kernel's hands (a core dump, a dead disk) may take its time: it is not waited for for ever.
        self._reaped(CLOSE_S)
        self._listener.join(CLOSE_S)
        # Wakes a call in another thread, which must be out of the socket before its number can be used again.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        if self._busy.acquire(timeout=CLOSE_S):
            self._connection.close()
            self._busy.release()
        if self._own_server is not None:
            self._own_server.close()

    def _died(self, command: str) -> RankDied:
        code = self._reaped(CLOSE_S)
        self._listener.join(1.0)
        if code is None:
            how = "closed its connection"
        elif code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        else:
            how = f"ended with exit code {code}"
        said = "; ".join(list(self._said)[-SHOWN_LINES:])
        return RankDied(f"process {self.pid} {how} during {command!r}" + (f": {said}" if said else ""), code)

    def _listen(self, output: int) -> None:
        with os.fdopen(output, "rb") as stream:
            for line in stream:
                text = line.decode(errors="replace").rstrip()
                self._said.append(text)
                with contextlib.suppress(OSError, ValueError):  # our own may be closed
                    sys.stderr.write(f"{text}\n")
