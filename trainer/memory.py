"""Evidence that memory ran out, so that nobody has to guess why a process got SIGKILL.

Two sources: the kernel's own count of processes it killed in this container (cgroup ``memory.events``), and a guard
that ends the training process itself when it uses up its limit. The guard is for machines whose containers have no
limit of their own, and gives the pod a chance to say why it ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

CGROUP_FILES = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
#: The share of the limit at which the guard acts: the rest is for the processes around the training.
GUARD_SHARE = 0.95
POLL_S = 0.25


def oom_kills(files: tuple[Path, ...] = CGROUP_FILES) -> int | None:
    """How many processes the kernel killed in this container for lack of memory; None where it does not count."""
    for file in files:
        try:
            lines = file.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return None


def resident_bytes(pid: int) -> int:
    """Memory of process ``pid`` that is in RAM; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return 0
    return 0


def peak_bytes() -> int:
    """The most memory of this process that was in RAM at once; 0 where the kernel does not say."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return 0
    return 0


def give_back_memory() -> None:
    """Give memory that was freed back to the system: Arrow and the C library keep it, for rows that will not come."""
    import pyarrow as pa  # not needed by those who only look for evidence

    gc.collect()
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(AttributeError):  # not every C library has it
        ctypes.CDLL(None).malloc_trim(0)


@dataclass
class MemoryGuard:
    """Watches process ``pid`` and calls ``kill`` once it uses more than its share of ``limit_bytes`` (0: no limit)."""

    pid: int
    limit_bytes: int
    kill: Callable[[], None]
    _kills_before: int | None = field(default_factory=oom_kills)
    _used_bytes: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if self.limit_bytes:
            threading.Thread(target=self._watch, name="memory-guard", daemon=True).start()

    def evidence(self) -> str:
        """Why the process's death was for lack of memory, or an empty string when nothing says so."""
        if self._used_bytes:
            return f"it used {self._used_bytes >> 20} MiB of TRAINING_MEMORY_LIMIT {self.limit_bytes >> 20} MiB"
        now = oom_kills()
        if now is not None and self._kills_before is not None and now > self._kills_before:
            return "the kernel killed a process of this container for lack of memory (memory.events: oom_kill)"
        return ""

    def stop(self) -> None:
        """Watch no longer."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(POLL_S):
            used = resident_bytes(self.pid)
            if used > self.limit_bytes * GUARD_SHARE:
                self._used_bytes = used
                self.kill()
                return
