"""Keeps a job going when workers come and go: what a loss means, who is waited for, who trains on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from trainer.chief.group import Group, GroupLostError, Member
from trainer.chief.regroup import MOST_LOSSES, Loss, is_partition, patience_s, pause, pause_s, regroup
from trainer.chief.states import Event
from trainer.contract import FailureReason, TrainingFailure, TrainingSpec
from trainer.logs import EventLog

#: How often the chief looks who is there while it waits for workers.
LOOK_S = 0.05
#: Reasons for which another group is tried. Memory that ran out would run out again.
REGROUPED_FOR = (FailureReason.WORKERS_LOST, FailureReason.NETWORK_PARTITION)


@dataclass(kw_only=True)
class Recovery:
    """The group's members, and the loss that is being mended.

    ``losses`` counts those since the last boundary. ``stopping`` says whether the chief was told to stop, which ends
    every wait with :class:`Stopped`.
    """

    spec: TrainingSpec
    group: Group
    log: EventLog
    stopping: Callable[[], bool]
    clock: Callable[[], float] = time.monotonic
    members: list[Member] = field(default_factory=list)
    losses: int = 0
    loss: Loss | None = None
    _formed_at: float = float("inf")
    _returned_s: float | None = None
    failure: TrainingFailure | None = None
    _dismissals: set[asyncio.Task[None]] = field(default_factory=set)

    def lost(self, error: GroupLostError, boosting_round: int, reached: int) -> Event:
        """The group is gone, with its rounds between ``boosting_round``, the last boundary, and ``reached``."""
        self.losses += 1
        fields = {
            "workers": list(error.lost),
            "reason": error.reason.value,
            "round": boosting_round,
            "rounds_lost": max(0, reached - boosting_round),
        }
        if error.reason in REGROUPED_FOR and self.losses <= MOST_LOSSES:
            self.log.warning("lost", f"{error}; training goes on from round {boosting_round}", **fields)
            self._mend(error.reason, error.lost, str(error))
            return Event.LOST
        message = str(error)
        if self.losses > MOST_LOSSES:
            message += f"; the group was lost {self.losses} times in a row without a segment trained"
        self.failure = TrainingFailure(error.reason, message)
        self.log.error("lost", message, **fields)
        return Event.BROKEN

    async def regroup(self) -> Event:
        """Wait for those that are missing as long as the grace lasts, then take whoever is there."""
        loss, total = self._to_mend(), self.spec.num_workers

        def decide(now: float) -> Event | None:
            return regroup(loss, total, self.group.live(), now)

        is_waiting = not loss.wanted <= self.group.live()
        if decide(self.clock()) is None:
            self._log_wait("waiting", loss, loss.at + loss.patience_s)
        while True:
            event = await self._until(decide)
            if event is Event.NO_QUORUM:
                return event
            members = await self.group.enlist(self.group.live())
            # Who did not answer is not live: look again.
            there = {m.worker for m in members}
            if regroup(loss, total, there, self.clock()) is Event.COMPLETE:
                if is_waiting and loss.wanted <= there:
                    self._returned_s = self.clock() - loss.at
                self.members = members
                return Event.COMPLETE

    def formed(self) -> Loss | None:
        """A group is formed; returns the loss that this mends, None for the first group."""
        self._formed_at = self.clock()
        loss, self.loss = self.loss, None
        return loss

    async def pause(self) -> Event:
        """Too few are left to go on: wait until more than half are there again, or give the job up."""
        loss, group, total = self._to_mend(), self.group, self.spec.num_workers
        partitioned = False

        def limit_s() -> float:
            # Remembered: the connection of a worker that is cut off ends in time, and then it only looks gone.
            nonlocal partitioned
            partitioned = partitioned or is_partition(loss, group.silent())
            return pause_s(self.spec.limits, partitioned=partitioned)

        # Counted from the loss: a quorum that comes and goes must not begin it anew.
        self._log_wait("paused", loss, loss.at + limit_s())
        event = await self._until(lambda now: pause(total, limit_s(), group.live(), now - loss.at))
        if event is Event.GIVEN_UP:
            reason = FailureReason.NETWORK_PARTITION if partitioned else FailureReason.WORKERS_LOST
            left = f"{len(group.live())} of {total} workers are left, and no others came within {limit_s():.0f} s"
            self.failure = TrainingFailure(reason, f"{loss.detail}; {left}")
        return event

    def at_boundary(self, boosting_round: int) -> Event:
        """A segment is trained: whether the group stays as it is. Who was told to stop goes, who is back joins."""
        self.losses = 0
        members, live = {m.worker for m in self.members}, self.group.live()
        left, joined = sorted(members - live), sorted(live - members)
        if not left and not joined:
            return Event.BOUNDARY
        parts = [f"{_workers(some)} {what}" for some, what in ((left, "left"), (joined, "joined")) if some]
        detail = "; ".join(parts)
        self.log.info("changed", f"after round {boosting_round}: {detail}", left=left, joined=joined)
        self._mend(FailureReason.WORKERS_LOST, tuple(left), detail)
        self.dismiss(left)
        return Event.CHANGED

    def _mend(self, reason: FailureReason, lost: tuple[int, ...], detail: str) -> None:
        now = self.clock()
        self.loss = Loss(
            wanted=frozenset(m.worker for m in self.members),
            at=now,
            patience_s=patience_s(self.spec.limits, max(0.0, now - self._formed_at), self._returned_s),
            reason=reason,
            lost=lost,
            detail=detail,
        )
        # A loss while the next group is formed comes before it has trained at all.
        self._formed_at = float("inf")

    def dismiss(self, workers: list[int]) -> None:
        """Let workers that were told to stop go now."""
        if workers:
            task = asyncio.create_task(self.group.dismiss(workers))
            self._dismissals.add(task)
            task.add_done_callback(self._dismissals.discard)

    async def _until(self, decide: Callable[[float], Event | None]) -> Event:
        while True:
            if self.stopping():
                raise Stopped
            event = decide(self.clock())
            if event is not None:
                return event
            await asyncio.sleep(LOOK_S)

    def _log_wait(self, event: str, loss: Loss, until: float) -> None:
        live = self.group.live()
        missing = sorted(loss.wanted - live)
        left_s = max(0.0, until - self.clock())
        there = f"{len(live)} of {self.spec.num_workers} workers are there"
        text = f"{there}; waiting {left_s:.0f} s for {_workers(missing)}"
        self.log.warning(event, text, workers=sorted(live), missing=missing, left_s=round(left_s, 3))

    def _to_mend(self) -> Loss:
        if self.loss is None:  # pragma: no cover - the table of states does not allow it
            raise TrainingFailure(FailureReason.BUG, "there is no loss to recover from")
        return self.loss


class Stopped(Exception):
    """The chief was told to stop."""


def _workers(indices: list[int]) -> str:
    return f"worker{'s' if len(indices) != 1 else ''} {', '.join(map(str, indices))}"
