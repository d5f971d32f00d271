"""Who trains on after a loss: a pure function of who is there, how long has been waited, and the spec's limits.

| Live workers | Until when | Then |
|---|---|---|
| all that are waited for | | on with everybody who is there |
| more than half of N | ``regroup_grace_s`` after the loss | on with the survivors; the others may join at a boundary |
| half or fewer | ``regroup_grace_s``; ``partition_s`` where a missing one is only silent | the job ends |
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from trainer.chief.states import Event
from trainer.contract import FailureReason, Limits

#: A group that is lost so often in a row, without one segment trained, will be lost again.
MOST_LOSSES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """Why a group has to be formed again, and when (seconds of the driver's clock).

    ``wanted`` are the workers that are waited for: those of the group that was lost.
    """

    wanted: frozenset[int]
    at: float
    reason: FailureReason = FailureReason.WORKERS_LOST
    lost: tuple[int, ...] = ()
    detail: str = ""


def has_quorum(total: int, live: Set[int]) -> bool:
    """Whether more than half of ``total`` workers live."""
    return 2 * len(live) > total


def regroup(loss: Loss, total: int, limits: Limits, live: Set[int], now: float) -> Event | None:
    """While there is a quorum: ``COMPLETE`` when the group can be formed, ``NO_QUORUM``, or None to wait on."""
    if not has_quorum(total, live):
        return Event.NO_QUORUM
    if loss.wanted <= live or now - loss.at >= limits.regroup_grace_s:
        return Event.COMPLETE
    return None


def pause(loss: Loss, total: int, limits: Limits, live: Set[int], silent: Set[int], now: float) -> Event | None:
    """While there is none: ``QUORUM`` when enough are back, ``GIVEN_UP``, or None to wait on."""
    if has_quorum(total, live):
        return Event.QUORUM
    if now - loss.at >= patience_s(loss, limits, silent):
        return Event.GIVEN_UP
    return None


def patience_s(loss: Loss, limits: Limits, silent: Set[int]) -> float:
    """How long a job without a quorum waits: who is only silent comes back when the network does."""
    partitioned = bool(silent) or loss.reason is FailureReason.NETWORK_PARTITION
    return limits.partition_s if partitioned else limits.regroup_grace_s
