"""The functions that the chief runs at a worker through Dask, and the state they share within its two processes.

``end`` runs in the nanny's process, all others in the Dask worker's.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker

from trainer.contract import FailureReason, TrainingFailure
from trainer.environment import read_environment
from trainer.worker.holder import RankHolder

#: A fast booster has thousands of rounds a second; the chief needs to see a few.
REPORT_EVERY_S = 0.5
#: Dask topic on which ranks report progress inside a segment.
PROGRESS_TOPIC = "training-progress"
#: Dask topic on which nannies say that their pod was told to stop.
LEAVING_TOPIC = "training-leaving"


@dataclass
class _Shared:
    holder: RankHolder | None = None
    exit_code: int | None = None
    ending: asyncio.Event = field(default_factory=asyncio.Event)


_shared = _Shared()


class QuietWorker(Worker):
    """A Dask worker without the plain-text HTTP server: everything it serves goes through mutual TLS."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Listen nowhere."""


class RankPlugin(WorkerPlugin):
    """Gives the Dask worker its rank holder, and takes the rank process along when the worker closes."""

    name = "rank"

    def setup(self, worker: Worker) -> None:
        """Make the holder when the worker starts. Its end is the nanny's decision, whoever else is sent a signal."""
        if multiprocessing.parent_process() is not None:
            with contextlib.suppress(ValueError):  # not in the main thread: then nobody's default was to die
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, signal.SIG_IGN)
        pod = read_environment()
        cache_dir = pod.cache_dir / f"worker-{worker.name}"
        _shared.holder = RankHolder(cache_dir=cache_dir, memory_limit_bytes=pod.memory_limit_bytes)
        _shared.holder.prepare()

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - Dask's signature
        """Kill the rank process, so that a thread waiting for it ends and the worker can close."""
        if _shared.holder is not None:
            _shared.holder.close()


async def enlist(engine: str) -> dict[str, Any]:
    """End the rank process of an earlier group, and have what the next one imports ready.

    Returns the host that this worker's rank uses for its own connections, and the process's id.
    """
    await kill_rank()
    if _shared.holder is not None:
        await asyncio.to_thread(_shared.holder.prepare, engine)
    return {"host": read_environment().collective_host, "pid": os.getpid()}


def execute(
    worker: int, command: str, arguments: Mapping[str, Any], payload: bytes, timeout_s: float
) -> dict[str, Any]:
    """Run ``command`` in the rank process. Returns ``fields`` and ``payload``, or ``reason`` and ``message``.

    A failure is returned, not raised: Dask would log it as an error of its own and add nothing to it.
    """
    if _shared.holder is None:
        return {"reason": FailureReason.BUG.value, "message": "the worker has no rank holder"}
    try:
        fields, reply = _shared.holder.call(command, arguments, payload, timeout_s, _reporter(worker))
    except TrainingFailure as e:
        return {"reason": e.reason.value, "message": str(e)}
    return {"fields": fields, "payload": reply}


async def kill_rank() -> None:
    """End this worker's rank process, if there is one."""
    if _shared.holder is not None:
        await asyncio.to_thread(_shared.holder.kill)


async def hold_rank(segment: int) -> int | None:
    """Hold the running ``segment``: see :class:`trainer.rank.gate.Gate`."""
    return None if _shared.holder is None else await asyncio.to_thread(_shared.holder.hold, segment)


async def until_rank(segment: int, rounds: int) -> None:
    """End the held ``segment`` after ``rounds`` rounds."""
    if _shared.holder is not None:
        await asyncio.to_thread(_shared.holder.until, segment, rounds)


def end(exit_code: int) -> None:
    """Note, in the nanny's process, how the pod shall end, and that it shall."""
    _shared.exit_code = exit_code
    _shared.ending.set()


def noted_exit_code() -> int | None:
    """The exit code that the chief asked for; None when it has said nothing."""
    return _shared.exit_code


def begin_again() -> None:
    """Forget what an earlier chief said."""
    _shared.exit_code = None
    _shared.ending.clear()


async def told_to_end() -> None:
    """Wait until the chief says, through :func:`end`, that the job is over."""
    await _shared.ending.wait()


def _reporter(worker: int) -> Callable[[Mapping[str, Any]], None]:
    dask_worker = get_worker()
    sent_at = float("-inf")

    def report(progress: Mapping[str, Any]) -> None:
        nonlocal sent_at
        if time.monotonic() - sent_at >= REPORT_EVERY_S:
            sent_at = time.monotonic()
            # Not "worker": the scheduler puts the worker's address there.
            dask_worker.log_event(PROGRESS_TOPIC, {"index": worker, **progress})

    return report
