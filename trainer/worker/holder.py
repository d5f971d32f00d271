"""One rank process at a time, its memory guard, and its failures translated into reasons.

Used by the Dask worker, and by the chief itself when it is the only worker.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.contract import FailureReason, TrainingFailure
from trainer.memory import MemoryGuard
from trainer.rank.fork_server import ForkServer
from trainer.rank.process import RankDied, RankProcess, RankTimeout

#: The command that starts a process where there is none: every group begins by loading its shards.
FIRST_COMMAND = "load"
#: A rank is held at the end of a round, so it says at once when that will be; the chief asks for three seconds.
HOLD_S = 2.0


@dataclass(kw_only=True)
class RankHolder:
    """Holds at most one rank process, and the server that forks it. Methods may be called from different threads."""

    cache_dir: Path
    memory_limit_bytes: int = 0
    _server: ForkServer | None = None
    _engine: str = ""
    _prepared: str = ""
    _process: RankProcess | None = None
    _guard: MemoryGuard | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def prepare(self, engine: str = "") -> None:
        """Have what ranks of ``engine`` import ready before they are needed; returns at once."""
        with self._lock:
            self._engine = engine or self._engine
            self._ready_server()

    def call(
        self,
        command: str,
        arguments: Mapping[str, Any],
        payload: bytes,
        timeout_s: float,
        on_progress: Callable[[Mapping[str, Any]], None],
    ) -> tuple[dict[str, Any], bytes]:
        """Give the rank process ``command`` and wait for its reply.

        Raises:
            TrainingFailure: ``OutOfMemory`` when the process died and there is evidence for that, ``WorkersLost`` when
                it died of anything else, ``NetworkPartition`` when it did not answer in time or cannot reach its
                peers, or the reason that the rank itself gave.
        """
        process, guard = self._running(command)
        try:
            return process.call(command, dict(arguments), payload, timeout_s=timeout_s, on_progress=on_progress)
        except RankDied as e:
            self.kill()
            evidence = guard.evidence()
            if evidence:
                raise TrainingFailure(FailureReason.OUT_OF_MEMORY, f"{e}; {evidence}") from e
            raise TrainingFailure(FailureReason.WORKERS_LOST, str(e)) from e
        except RankTimeout as e:
            self.kill()
            raise TrainingFailure(FailureReason.NETWORK_PARTITION, str(e)) from e
        except TrainingFailure as e:
            if e.reason is not FailureReason.WORKERS_LOST:
                raise
            # A rank that can say so is not the lost one: it only lost the connection to another.
            raise TrainingFailure(FailureReason.NETWORK_PARTITION, f"lost its peers: {e}") from e

    def hold(self, segment: int) -> int | None:
        """Hold the running ``segment``: see :meth:`trainer.rank.process.RankProcess.hold`."""
        process = self._process
        return process.hold(segment, HOLD_S) if process is not None else None

    def until(self, segment: int, rounds: int) -> None:
        """End the held ``segment`` after ``rounds`` rounds."""
        process = self._process
        if process is not None:
            process.until(segment, rounds)

    def kill(self) -> None:
        """End the rank process, whatever it is doing; a ``call`` in another thread then fails at once."""
        with self._lock:
            process, guard = self._process, self._guard
            self._process = self._guard = None
        if guard is not None:
            guard.stop()
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the rank process and its server."""
        self.kill()
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.close()

    def _running(self, command: str) -> tuple[RankProcess, MemoryGuard]:
        with self._lock:
            if self._process is None or self._guard is None:
                if command != FIRST_COMMAND:
                    raise TrainingFailure(FailureReason.WORKERS_LOST, f"there is no rank process for {command!r}")
                self._process = self._started()
                self._guard = MemoryGuard(self._process.pid, self.memory_limit_bytes, self._process.kill)
            return self._process, self._guard

    def _started(self) -> RankProcess:
        try:
            return RankProcess(cache_dir=self.cache_dir, server=self._ready_server())
        except OSError:  # the server was killed, perhaps just now
            self._server = None
        try:
            return RankProcess(cache_dir=self.cache_dir, server=self._ready_server())
        except OSError as e:
            raise TrainingFailure(FailureReason.WORKERS_LOST, f"no rank process could be started: {e}") from e

    def _ready_server(self) -> ForkServer:
        if self._server is None or not self._server.is_alive:
            self._server, self._prepared = ForkServer(), ""
        if self._engine != self._prepared:
            self._server.prepare(self._engine)
            self._prepared = self._engine
        return self._server
