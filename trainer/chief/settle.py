"""Wait for all replies to one command, and find out why when they do not all come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer.chief.group import Command, Progress, Reply, SilentError, Verdict
from trainer.contract import FailureReason, TrainingFailure

#: How often deadlines are looked at.
TICK_S = 0.5
#: After the first failure the others have this long to fail by themselves: a peer of a dead rank may be heard first.
EVIDENCE_S = 3.0
EVIDENCE_TICK_S = 0.05
GONE = "the connection to it ended, or it stopped answering"


@dataclass
class Pulse:
    """When a rank last made progress, and which workers are silent or gone; wraps the caller's progress function.

    ``silent`` returns how long, in seconds, each worker has not been heard of that should have been; ``gone`` the
    workers that are not connected any more.
    """

    forward: Progress
    silent: Callable[[], Mapping[int, float]] = dict
    gone: Callable[[], Collection[int]] = tuple
    clock: Callable[[], float] = time.monotonic
    last: float = field(init=False)

    def __post_init__(self) -> None:
        self.last = self.clock()

    def __call__(self, worker: int, report: Mapping[str, Any]) -> None:
        """A rank reports progress."""
        self.last = self.clock()
        self.forward(worker, report)


async def settle(
    tasks: Mapping[int, asyncio.Task[Reply]], command: Command, pulse: Pulse, kill: Callable[[], Awaitable[None]]
) -> dict[int, Reply]:
    """All replies by worker index. ``kill`` ends every rank process; it is awaited before anything is raised.

    Raises:
        GroupLostError, TrainingFailure: see :meth:`trainer.chief.group.Group.call`.
    """
    verdict = Verdict(command.name)
    try:
        await _until_failure(tasks, command, pulse, verdict)
        if not verdict.failures:
            return {worker: task.result() for worker, task in tasks.items()}
        await _gather_evidence(tasks, pulse, verdict)
    except asyncio.CancelledError:
        await _end(tasks, kill)
        raise
    await _end(tasks, kill)
    raise verdict.error()


async def _until_failure(
    tasks: Mapping[int, asyncio.Task[Reply]], command: Command, pulse: Pulse, verdict: Verdict
) -> None:
    deadline = pulse.clock() + command.timeout_s
    pending, looked_at = set(tasks.values()), pulse.clock()
    while pending and not verdict.failures:
        _, pending = await asyncio.wait(pending, timeout=TICK_S, return_when=asyncio.FIRST_EXCEPTION)
        _collect(tasks, verdict)
        now = pulse.clock()
        on_time, looked_at = now - looked_at < 2 * TICK_S, now
        if pending and not verdict.failures:
            _miss(tasks, pulse, verdict)
        if pending and not verdict.failures:
            _look_for_silence(tasks, command, pulse, verdict, on_time=on_time)
            if now >= deadline:
                _accuse(tasks, f"no answer within {command.timeout_s:.0f} s", verdict)


def _look_for_silence(
    tasks: Mapping[int, asyncio.Task[Reply]], command: Command, pulse: Pulse, verdict: Verdict, *, on_time: bool
) -> None:
    if not on_time:
        # We were stopped or busy ourselves: what workers said meanwhile is still to be read.
        pulse.last = pulse.clock()
        return
    for worker, silent_s in pulse.silent().items():
        if worker in tasks and not tasks[worker].done():
            verdict.add(worker, SilentError(silent_s))
    stall_s = command.stall_s()
    if stall_s and not verdict.failures and pulse.clock() - pulse.last >= stall_s:
        _accuse(tasks, f"no rank has made progress for {stall_s:.0f} s", verdict)


async def _gather_evidence(tasks: Mapping[int, asyncio.Task[Reply]], pulse: Pulse, verdict: Verdict) -> None:
    until = time.monotonic() + EVIDENCE_S
    while not verdict.is_clear and time.monotonic() < until:
        pending = {task for task in tasks.values() if not task.done()}
        if not pending:
            return
        await asyncio.wait(pending, timeout=EVIDENCE_TICK_S, return_when=asyncio.FIRST_COMPLETED)
        _collect(tasks, verdict)
        _miss(tasks, pulse, verdict)


def _miss(tasks: Mapping[int, asyncio.Task[Reply]], pulse: Pulse, verdict: Verdict) -> None:
    # A command that was on its way to a worker as it went is neither refused nor answered: Dask waits for the worker.
    for worker in pulse.gone():
        if worker in tasks and not tasks[worker].done():
            verdict.add(worker, TrainingFailure(FailureReason.WORKERS_LOST, GONE))


def _collect(tasks: Mapping[int, asyncio.Task[Reply]], verdict: Verdict) -> None:
    for worker, task in tasks.items():
        error = task.exception() if task.done() and not task.cancelled() else None
        if error is not None:
            verdict.add(worker, error)


def _accuse(tasks: Mapping[int, asyncio.Task[Reply]], message: str, verdict: Verdict) -> None:
    for worker, task in tasks.items():
        if not task.done():
            verdict.add(worker, TrainingFailure(FailureReason.NETWORK_PARTITION, message))


async def _end(tasks: Mapping[int, asyncio.Task[Reply]], kill: Callable[[], Awaitable[None]]) -> None:
    await kill()
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
