"""``python -m tests.chaos.kill_worker_pods``: kill -9 a random worker pod of a running ``make run``, again and again.

Run it beside ``make run WORKERS=4 EARLY_STOPPING=0 ROUNDS=2500``; it waits for the first pod and ends with the last.
Pods of the Kubernetes stand-in are process groups, known by their environment.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections.abc import Iterator

import psutil


def worker_pods(job_prefix: str) -> list[int]:
    """Process groups of the worker pods of jobs whose id begins with ``job_prefix``."""
    return sorted(pid for pid, command in _pods(job_prefix) if "trainer.worker" in command)


def _pods(job_prefix: str) -> Iterator[tuple[int, list[str]]]:
    for process in psutil.process_iter():
        try:
            if process.environ().get("TRAINING_JOB_ID", "").startswith(job_prefix):
                command = process.cmdline()
                if os.getpgid(process.pid) == process.pid:
                    yield process.pid, command
        except (psutil.Error, ProcessLookupError):
            continue


def say(text: str) -> None:
    """To standard output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Kill until no worker pod is left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every-s", type=float, default=20.0)
    parser.add_argument("--job", default="tire-degradation-")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    generator, landed = random.Random(arguments.seed), 0
    while not worker_pods(arguments.job):
        time.sleep(0.5)
    # Until then pods start; after the last one the job is over.
    while time.sleep(arguments.every_s) or any("trainer.chief" in command for _, command in _pods(arguments.job)):
        pods = worker_pods(arguments.job)
        if pods:
            victim = generator.choice(pods)
            os.killpg(victim, signal.SIGKILL)
            landed += 1
            say(f"{time.strftime('%H:%M:%S')} kill {landed}: pod {victim}, {len(pods)} were running")
    say(f"{landed} kills landed")


if __name__ == "__main__":
    main()
