"""The stand-in for tests of other areas: a process of its own, with a deadline, and gone afterwards."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from composer.local.places import REPOSITORY


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A running stand-in."""

    server: str
    kubeconfig: str
    pid: int


@contextlib.contextmanager
def running_kubernetes(data_dir: Path, *options: str, deadline_s: float = 30.0) -> Iterator[Cluster]:
    """Start the stand-in with command-line ``options``; stop it and all its pods at the end.

    Raises:
        TimeoutError: it was not ready in time.
    """
    ready = data_dir / "kubernetes.json"
    command: Sequence[str] = (
        *(sys.executable, "-m", "composer.local.kubernetes", "--data-dir", str(data_dir)),
        *("--ready-file", str(ready), "--die-with-parent", "--pod-env", f"PYTHONPATH={REPOSITORY}", *options),
    )
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + deadline_s
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > end:
                raise TimeoutError(f"the Kubernetes stand-in is not ready (exit code {process.poll()})")
            time.sleep(0.02)
        yield Cluster(**json.loads(ready.read_text()), pid=process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        ready.unlink(missing_ok=True)
