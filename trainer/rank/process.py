"""Drive a rank process: :class:`RankProcess` starts it, gives it commands, and can kill it at any moment."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import trainer
from trainer.contract import FailureReason, TrainingFailure
from trainer.rank.frames import EndOfFrames, Frames

STDERR_LINES = 20
SHOWN_LINES = 3
#: How long an orderly end may take, and what is left of a process that was killed.
CLOSE_S = 5.0
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
#: The Dask nanny sets these to 1. The spec's thread count is what holds, and each library is told it.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
#: Threads that wait for each other sleep. Where something else runs on a core, spinning made training ten times slower.
WAIT_POLICY = {"OMP_WAIT_POLICY": "PASSIVE"}

# The kernel kills a rank when the *thread* that started it ends, and threads of pools come and go. So all ranks are
# started by one thread, which ends with this process.
_starter = ThreadPoolExecutor(1, thread_name_prefix="rank-starter")


class RankDied(Exception):
    """The process is gone. ``code`` is its exit code, negative for a signal, None when it is not known."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class RankTimeout(Exception):
    """There was no reply in time; the process has been killed."""


class RankProcess:
    """A running ``python -m trainer.rank``. One command at a time; ``kill`` may come from any thread.

    Args:
        cache_dir: folder for shards, kept between processes.
        environment: variables in addition to this process's own.
    """

    def __init__(self, *, cache_dir: Path, environment: Mapping[str, str] = NO_VARIABLES) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _starter.submit(_start, theirs.fileno(), cache_dir, environment).result()
        self.pid = self._process.pid
        self._connection = ours
        self._frames = Frames(ours)
        self._busy = threading.RLock()
        self._said: collections.deque[str] = collections.deque(maxlen=STDERR_LINES)
        self._listener = threading.Thread(target=self._listen, name=f"rank-{self.pid}-stderr", daemon=True)
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
                    if header["kind"] != "progress":
                        break
                    if on_progress is not None:
                        on_progress(header["report"])
            except TimeoutError as e:
                self.kill()
                raise RankTimeout(f"process {self.pid} did not answer {command!r} within {timeout_s:.3g} s") from e
            except EndOfFrames as e:
                raise self._died(command) from e
        if header["kind"] == "failure":
            raise TrainingFailure(FailureReason(header["reason"]), header["message"])
        return header["reply"], body

    def kill(self) -> None:
        """SIGKILL, and reap. A ``call`` in another thread then raises :class:`RankDied`."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._end()

    def close(self) -> None:
        """Let it end by itself, which it does when its socket closes; SIGKILL if it does not."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._end()

    def _end(self) -> None:
        # A process in the kernel's hands (a core dump, a dead disk) may take its time: it is not waited for for ever.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_S)
        self._listener.join(CLOSE_S)
        # Wakes a call in another thread, which must be out of the socket before its number can be used again.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        if self._busy.acquire(timeout=CLOSE_S):
            self._connection.close()
            self._busy.release()

    def _died(self, command: str) -> RankDied:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_S)
        self._listener.join(1.0)
        code = self._process.returncode
        if code is None:
            how = "closed its connection"
        elif code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        else:
            how = f"ended with exit code {code}"
        said = "; ".join(list(self._said)[-SHOWN_LINES:])
        return RankDied(f"process {self.pid} {how} during {command!r}" + (f": {said}" if said else ""), code)

    def _listen(self) -> None:
        stream = self._process.stderr
        if stream is None:  # pragma: no cover - it is a pipe
            return
        with stream:
            for line in stream:
                text = line.decode(errors="replace").rstrip()
                self._said.append(text)
                with contextlib.suppress(OSError, ValueError):  # our own may be closed
                    sys.stderr.write(f"{text}\n")


def _start(descriptor: int, cache_dir: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    variables = {**WAIT_POLICY, **os.environ, **environment}
    for name in THREAD_VARIABLES:
        if name not in environment:
            variables.pop(name, None)
    root = str(Path(trainer.__file__).parents[1])
    variables["PYTHONPATH"] = os.pathsep.join(p for p in (root, variables.get("PYTHONPATH", "")) if p)
    command = [sys.executable, "-X", "faulthandler", "-m", "trainer.rank"]
    return subprocess.Popen(
        [*command, str(descriptor), str(os.getpid()), str(cache_dir)],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[descriptor],
    )
