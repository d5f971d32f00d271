"""The pods' processes as the machine sees them: whose they are, what they use, and how to kill one."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from tests.bench.stand import Stand

KIB = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes of a pod's processes, shared pages counted once: all of them, and without those that a file backs."""

    total: int
    anonymous: int


def pods(stand: Stand, module: str) -> dict[int, psutil.Process]:
    """The main processes of the pods that run ``module``, by worker index (0 for the chief)."""
    found = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(stand.kubernetes_pid).children():
            with contextlib.suppress(psutil.Error):
                if module in process.cmdline():
                    found[int(process.environ().get("WORKER_INDEX") or 0)] = process
    return found


def memory_of(pod: psutil.Process) -> Memory:
    """PSS of all processes of ``pod``."""
    total = anonymous = 0
    with contextlib.suppress(psutil.Error):
        for process in (pod, *pod.children(recursive=True)):
            sizes = _smaps(process.pid)
            total += sizes.get("Pss", 0)
            anonymous += sizes.get("Pss_Anon", 0)
    return Memory(total=total, anonymous=anonymous)


def rank_cpu_s(stand: Stand) -> float:
    """CPU seconds that all rank processes have used so far, those included that a living fork server has reaped."""
    used = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(stand.kubernetes_pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "trainer.rank" in process.cmdline():
                    used += float(sum(process.cpu_times()[:4]))
    return used


def kill_pod(pod: psutil.Process) -> float:
    """SIGKILL to the whole process group and whatever left it; returns when that was (seconds since 1970)."""
    everybody = [pod, *pod.children(recursive=True)]
    at = time.time()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pod.pid, signal.SIGKILL)
    for process in everybody:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return at


@dataclass
class Series:
    """Values that a thread takes every ``every_s`` seconds, with the time of each."""

    take: Callable[[], dict[int, Memory] | float | None]
    every_s: float
    values: list[tuple[float, dict[int, Memory] | float]] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Take values as long as the block runs."""
        over = threading.Event()

        def follow() -> None:
            while not over.wait(self.every_s):
                value = None
                with contextlib.suppress(psutil.Error, OSError):  # processes come and go
                    value = self.take()
                if value is not None:
                    self.values.append((time.time(), value))

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(5.0)


def grown(series: Series, first: float, last: float) -> float:
    """By how much a number grew between two times, both interpolated.

    It counts what has happened, and does not become less: whoever takes its count along as it ends has counted.
    """
    times = [at for at, _ in series.values]
    numbers = np.maximum.accumulate([value for _, value in series.values if isinstance(value, float)])
    return float(np.interp(last, times, numbers) - np.interp(first, times, numbers))


def _smaps(pid: int) -> dict[str, int]:
    sizes = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, rest = line.partition(":")
            sizes[name] = int(rest.split()[0]) * KIB
    return sizes
