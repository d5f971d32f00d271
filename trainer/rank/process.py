"""Drive a rank process: :class:`RankProcess` starts it, gives it commands, and can kill it at any moment."""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer.contract import FailureReason, TrainingFailure
from trainer.rank.frames import read_frame, write_frame

STDERR_LINES = 20
CLOSE_S = 5.0
#: Names the process that a rank must not outlive; see :mod:`trainer.rank.__main__`.
PARENT = "TRAINING_RANK_PARENT"
Frame = tuple[dict[str, Any], bytes]


class RankDied(Exception):
    """The process is gone. ``code`` is its exit code, negative for a signal, None when not known."""

    def __init__(self, message: str, code: int | None) -> None:
        super().__init__(message)
        self.code = code


class RankTimeout(Exception):
    """No reply in time; the process still runs."""


class RankProcess:
    """A running ``python -m trainer.rank``. One command at a time; ``kill`` may come from any thread."""

    def __init__(self, *, cache_dir: Path, environment: Mapping[str, str] | None = None) -> None:
        own = {**os.environ, **(environment or {}), PARENT: str(os.getpid()), "TRAINING_CACHE_DIR": str(cache_dir)}
        # The Dask nanny pins these to 1; the spec's thread count is what holds.
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            own.pop(name, None)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trainer.rank"],
            env=own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.pid = self._process.pid
        self._frames: queue.Queue[Frame | None] = queue.Queue()
        self._said: collections.deque[str] = collections.deque(maxlen=STDERR_LINES)
        self._busy = threading.Lock()
        self._threads = [threading.Thread(target=t, daemon=True) for t in (self._receive, self._listen)]
        for thread in self._threads:
            thread.start()

    def call(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        payload: bytes = b"",
        *,
        timeout_s: float,
        on_progress: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Frame:
        """Give ``command`` and wait for its reply.

        Raises:
            RankDied: the process is gone.
            RankTimeout: there was no reply within ``timeout_s``.
            TrainingFailure: what the rank says went wrong; ``Bug`` with its traceback for what it did not expect.
        """
        import time

        with self._busy:
            deadline = time.monotonic() + timeout_s
            try:
                assert self._process.stdin is not None
                write_frame(self._process.stdin, {"command": command, "arguments": dict(arguments or {})}, payload)
            except (OSError, ValueError) as e:
                raise self._died() from e
            while True:
                try:
                    frame = self._frames.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty as e:
                    raise RankTimeout(f"no reply to {command!r} within {timeout_s:.0f} s") from e
                if frame is None:
                    raise self._died()
                header, body = frame
                if header["kind"] == "progress":
                    if on_progress is not None:
                        on_progress(header["report"])
                elif header["kind"] == "failure":
                    raise TrainingFailure(FailureReason(header["reason"]), header["message"])
                else:
                    return header["reply"], body

    def kill(self) -> None:
        """SIGKILL, and reap."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_S)
        self._release()

    def close(self) -> None:
        """Let it end by closing its input; SIGKILL if it does not."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(CLOSE_S)
        self._release()

    def _release(self) -> None:
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(CLOSE_S)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError, ValueError):
                if stream is not None:
                    stream.close()

    def _receive(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            while (frame := read_frame(self._process.stdout)) is not None:
                self._frames.put(frame)
        self._frames.put(None)

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            for line in self._process.stderr:
                text = line.decode(errors="replace").rstrip()
                self._said.append(text)
                print(text, file=sys.stderr, flush=True)  # noqa: T201 - the pod's log

    def _died(self) -> RankDied:
        self._frames.put(None)  # whoever calls next learns it too
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_S)
        code = self._process.returncode
        how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        said = "; ".join(list(self._said)[-3:])
        return RankDied(f"the training process {self.pid} ended by {how}" + (f": {said}" if said else ""), code)
