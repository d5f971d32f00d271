"""Who trains on after a loss: a pure function of who is there, how long has been waited, and the spec's limits.

| Live workers | Until when | Then |
|---|---|---|
| all that are waited for | | on with everybody who is there |
| more than half of N | ``regroup_grace_s`` after the loss | on with the survivors; the others may join at a boundary |
| half or fewer | ``regroup_grace_s``; ``partition_s`` where a missing one is only silent | the job ends |

Where workers are lost faster than they come back, survivors do not wait: see :func:`patience_s`.
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

    ``wanted`` are the workers that are waited for, for ``patience_s`` seconds: those of the group that was lost.
    """

    wanted: frozenset[int]
    at: float
    patience_s: float
    reason: FailureReason = FailureReason.WORKERS_LOST
    lost: tuple[int, ...] = ()
    detail: str = ""


def has_quorum(total: int, live: Set[int]) -> bool:
    """Whether more than half of ``total`` workers live."""
    return 2 * len(live) > total


def patience_s(limits: Limits, trained_s: float, returned_s: float | None) -> float:
    """How long survivors wait for the lost ones.

    Not at all when the group that was lost had trained for less time (``trained_s``) than the last replacement took to
    come (``returned_s``; None: none was waited for yet): then waiting would take longer than what it is waited for.
    """
    return 0.0 if returned_s is not None and trained_s < returned_s else limits.regroup_grace_s


def regroup(loss: Loss, total: int, live: Set[int], now: float) -> Event | None:
    """While there is a quorum: ``COMPLETE`` when the group can be formed, ``NO_QUORUM``, or None to wait on."""
    if not has_quorum(total, live):
        return Event.NO_QUORUM
    if loss.wanted <= live or now - loss.at >= loss.patience_s:
        return Event.COMPLETE
    return None


def pause(total: int, limit_s: float, live: Set[int], paused_s: float) -> Event | None:
    """While there is none: ``QUORUM`` when enough are back, ``GIVEN_UP``, or None to wait on."""
    if has_quorum(total, live):
        return Event.QUORUM
    return Event.GIVEN_UP if paused_s >= limit_s else None


def is_partition(loss: Loss, silent: Set[int]) -> bool:
    """Whether somebody is missing who is perhaps only silent, and comes back when the network does."""
    return bool(silent) or loss.reason is FailureReason.NETWORK_PARTITION


def pause_s(limits: Limits, *, partitioned: bool) -> float:
    """How long a job without a quorum waits."""
    return limits.partition_s if partitioned else limits.regroup_grace_s
