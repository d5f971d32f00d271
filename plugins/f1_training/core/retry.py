"""What follows from a failure: one table, and a pure function of the reason and of what was tried before.

| Reason | Tried again | Retries of its own | The next attempt | When there are none left |
|---|---|---|---|---|
| ``WorkersLost`` | yes | | one worker fewer | |
| ``ChiefLost`` | yes | 2 | as before | on-call is paged |
| ``Preempted``, ``NetworkPartition``, ``NetworkTimeout`` | yes | | as before | |
| ``ResourceExhausted``, ``StorageFull`` | yes | | as before | |
| ``OutOfMemory`` | yes | 1 | the next machine type | the ML team is told |
| ``DataInvalid`` | no | | | the data team is told |
| ``PermissionDenied``, ``ConfigInvalid``, ``Bug`` | no | | | |

All together there are 3 retries of a task, after 60 s, 120 s, 240 s (at most 600 s). Every next attempt of training
goes on at the last committed round. Who is told is part of the decision; :mod:`f1_training.alerts` sends it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from f1_training.core.machines import next_machine
from trainer.contract import FailureReason
from trainer.contract.fields import require
from trainer.contract.resources import Resources


class Change(enum.StrEnum):
    """What the next attempt does differently."""

    NOTHING = "as before"
    FEWER_WORKERS = "one worker fewer"
    LARGER_MACHINE = "the next machine type"


class Team(enum.StrEnum):
    """Who is told when a reason has used up its retries."""

    NOBODY = ""
    ON_CALL = "on-call"
    ML = "ml"
    DATA = "data"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What follows from one reason."""

    retried: bool = True
    change: Change = Change.NOTHING
    tells: Team = Team.NOBODY


FINAL = Rule(retried=False)
RULES: Mapping[FailureReason, Rule] = {
    FailureReason.WORKERS_LOST: Rule(change=Change.FEWER_WORKERS),
    FailureReason.CHIEF_LOST: Rule(tells=Team.ON_CALL),
    FailureReason.PREEMPTED: Rule(),
    FailureReason.NETWORK_PARTITION: Rule(),
    FailureReason.OUT_OF_MEMORY: Rule(change=Change.LARGER_MACHINE, tells=Team.ML),
    FailureReason.RESOURCE_EXHAUSTED: Rule(),
    FailureReason.NETWORK_TIMEOUT: Rule(),
    FailureReason.STORAGE_FULL: Rule(),
    FailureReason.DATA_INVALID: Rule(retried=False, tells=Team.DATA),
    FailureReason.PERMISSION_DENIED: FINAL,
    FailureReason.CONFIG_INVALID: FINAL,
    FailureReason.BUG: FINAL,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrySettings:
    """How often and when a task is tried again; counts are of retries, not of attempts."""

    overall: int = 3
    chief_lost: int = 2
    out_of_memory: int = 1
    first_delay_s: float = 60.0
    longest_delay_s: float = 600.0

    def __post_init__(self) -> None:
        for name in ("overall", "chief_lost", "out_of_memory", "first_delay_s", "longest_delay_s"):
            require(getattr(self, name) >= 0, name, f"is {getattr(self, name)}; 0 or more")

    def of(self, reason: FailureReason) -> int:
        """How often a task is retried for ``reason`` at most."""
        own = {FailureReason.CHIEF_LOST: self.chief_lost, FailureReason.OUT_OF_MEMORY: self.out_of_memory}
        return min(own.get(reason, self.overall), self.overall)

    def delay_s(self, retries: int) -> float:
        """Seconds before the next attempt after ``retries`` earlier ones: doubled each time, up to the longest."""
        return float(min(self.first_delay_s * 2**retries, self.longest_delay_s))


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """What an attempt runs on."""

    num_workers: int
    resources: Resources


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Whether to try again, and why (or why not). ``size`` is the next attempt's, None where nothing has a size."""

    retry: bool
    why: str
    delay_s: float = 0.0
    size: Size | None = None
    tells: Team = Team.NOBODY

    @property
    def text(self) -> str:
        """One line for the task's log."""
        return f"retry in {self.delay_s:.0f} s: {self.why}" if self.retry else f"no retry: {self.why}"


def decide(
    reason: FailureReason, earlier: Sequence[FailureReason], settings: RetrySettings, size: Size | None = None
) -> Decision:
    """What follows from ``reason``.

    Args:
        reason: why the newest attempt failed.
        earlier: the reasons for which there were retries before, the oldest first.
        settings: the budgets.
        size: what the newest attempt ran on; None for a task that has no size.
    """
    rule = RULES[reason]
    if not rule.retried:
        return Decision(retry=False, why=f"{reason.value} stays as it is however often it is tried", tells=rule.tells)
    if len(earlier) >= settings.overall:
        return _spent(rule, f"all {settings.overall} retries are used up ({', '.join(earlier) or 'there are none'})")
    allowed, used = settings.of(reason), earlier.count(reason)
    if used >= allowed:
        return _spent(rule, f"the {allowed} retries for {reason.value} are used up")
    larger = next_machine(size.resources) if size and rule.change is Change.LARGER_MACHINE else None
    if size is not None and rule.change is Change.LARGER_MACHINE and larger is None:
        return _spent(rule, f"no machine type is larger than {size.resources.machine_type or size.resources.memory}")
    next_size, change = _next(size, rule, larger)
    why = f"{reason.value}, retry {len(earlier) + 1} of {settings.overall}{change}"
    return Decision(retry=True, why=why, delay_s=settings.delay_s(len(earlier)), size=next_size)


def _spent(rule: Rule, why: str) -> Decision:
    return Decision(retry=False, why=why, tells=rule.tells)


def _next(size: Size | None, rule: Rule, larger: Resources | None) -> tuple[Size | None, str]:
    if size is None:
        return None, ""
    if larger is not None:
        grown = Size(num_workers=size.num_workers, resources=larger)
        return grown, f", on {larger.machine_type} with {larger.memory} instead of {size.resources.memory}"
    if rule.change is Change.FEWER_WORKERS and size.num_workers > 1:
        fewer = Size(num_workers=size.num_workers - 1, resources=size.resources)
        return fewer, f", with {fewer.num_workers} of {size.num_workers} workers"
    return size, ", as before"
