"""What a worker's processes use: CPU and memory, from the container's own accounts or else from its processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from trainer.memory import resident_bytes

CGROUP = Path("/sys/fs/cgroup")


@dataclass(kw_only=True)
class Usage:
    """Looks at process ``pid`` and its children. ``limit_bytes`` is 0 where the pod was given none."""

    limit_bytes: int = 0
    pid: int = field(default_factory=os.getpid)
    cgroup: Path = CGROUP
    clock: Callable[[], float] = time.monotonic
    _cpu_s: float = 0.0
    _at: float | None = None

    def memory_limit(self) -> int:
        """Bytes: what the pod was told, or its container's limit, or all that the machine has."""
        return self.limit_bytes or self._container_limit() or int(psutil.virtual_memory().total)

    def memory(self) -> int:
        """Bytes in use. Of a container with a limit, as the kubelet counts it: without files that can be dropped."""
        if not self._container_limit():
            return sum(resident_bytes(process.pid) for process in self._processes())
        fields = dict(line.split() for line in (self.cgroup / "memory.stat").read_text().splitlines())
        return int((self.cgroup / "memory.current").read_text()) - int(fields.get("inactive_file", 0))

    def cpu_percent(self) -> float | None:
        """Of the CPUs that the processes may use, since the last call; None for the first."""
        used, now = sum(_cpu_s(process) for process in self._processes()), self.clock()
        before, at = self._cpu_s, self._at
        self._cpu_s, self._at = used, now
        if at is None or now <= at:
            return None
        # A process that ended took its seconds along.
        share = max(0.0, used - before) / (now - at) / len(os.sched_getaffinity(self.pid))
        return min(100.0, 100.0 * share)

    def _container_limit(self) -> int:
        try:
            text = (self.cgroup / "memory.max").read_text().strip()
        except OSError:
            return 0
        return int(text) if text.isdigit() else 0

    def _processes(self) -> list[psutil.Process]:
        try:
            own = psutil.Process(self.pid)
            return [own, *own.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
