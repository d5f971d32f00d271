"""One rank process, its memory guard, and its failures translated into reasons.

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
from trainer.rank.process import RankDied, RankProcess, RankTimeout

#: The command that starts a process where there is none: every group begins by loading its shards.
FIRST_COMMAND = "load"


@dataclass(kw_only=True)
class RankHolder:
    """Holds at most one rank process. ``call`` and ``kill`` may come from different threads."""

    cache_dir: Path
    memory_limit_bytes: int = 0
    _process: RankProcess | None = None
    _guard: MemoryGuard | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

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

    def kill(self) -> None:
        """End the rank process, whatever it is doing; a ``call`` in another thread then fails at once."""
        with self._lock:
            process, guard = self._process, self._guard
            self._process = self._guard = None
        if guard is not None:
            guard.stop()
        if process is not None:
            process.kill()

    def _running(self, command: str) -> tuple[RankProcess, MemoryGuard]:
        with self._lock:
            if self._process is None or self._guard is None:
                if command != FIRST_COMMAND:
                    raise TrainingFailure(FailureReason.WORKERS_LOST, f"there is no rank process for {command!r}")
                self._process = RankProcess(cache_dir=self.cache_dir)
                self._guard = MemoryGuard(self._process.pid, self.memory_limit_bytes, self._process.kill)
            return self._process, self._guard
