"""A task's attempts, kept in Airflow's task state store: it outlives the process, retries and clearing.

Airflow's own try number will not do: a killed process uses one up although the job that it started goes on.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from f1_training.core.retry import Decision, Size
from trainer.contract import FailureReason
from trainer.contract.fields import decode, encode

KEY = "attempts"


class StateStore(Protocol):
    """``context["task_state_store"]``."""

    def get(self, key: str, default: Any = None) -> Any:
        """The stored JSON value."""

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value."""


class AttemptState(enum.StrEnum):
    """What is known of an attempt. ``RUNNING`` is written before anything is started."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One attempt; ``number`` counts from 1, ``size`` is what it runs on where that matters.

    ``decision`` is what followed from its failure, ``reason`` the failure's; times are RFC 3339 in UTC.
    """

    number: int
    state: AttemptState
    size: Size | None = None
    reason: FailureReason | None = None
    decision: Decision | None = None
    began_at: str = ""
    ended_at: str = ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Attempts:
    """The attempts of one task instance."""

    store: StateStore
    now: Callable[[], str] = field(default=_now)

    def all(self) -> list[Attempt]:
        """Every attempt, the oldest first."""
        return [decode(Attempt, value, KEY) for value in self.store.get(KEY) or ()]

    def newest(self) -> Attempt | None:
        """The newest attempt, or None before the first."""
        return next(reversed(self.all()), None)

    def of(self, number: int) -> Attempt | None:
        """Attempt ``number``, None when it is not known."""
        return next((attempt for attempt in self.all() if attempt.number == number), None)

    def earlier_reasons(self) -> list[FailureReason]:
        """The reasons for the retries that led to the newest attempt, the oldest first.

        After a success, or a failure that was final, a person started the task again: then budgets are as new.
        """
        reasons: list[FailureReason] = []
        for attempt in self.all()[:-1]:
            if attempt.decision is not None and attempt.decision.retry and attempt.reason is not None:
                reasons.append(attempt.reason)
            elif attempt.decision is not None or attempt.state is AttemptState.SUCCEEDED:
                reasons = []
        return reasons

    def begin_next(self, size: Size | None = None) -> Attempt:
        """The attempt after the newest, which is about to start, on what was decided for it or else on ``size``."""
        known = self.all()
        newest = known[-1] if known else None
        decided = newest.decision if newest else None
        number = newest.number + 1 if newest else 1
        on = decided.size if decided is not None and decided.retry and decided.size is not None else size
        made = Attempt(number=number, state=AttemptState.RUNNING, size=on, began_at=self.now())
        self._write([*known, made])
        return made

    def succeeded(self, number: int) -> None:
        """Attempt ``number`` has made what it should."""
        self._end(number, state=AttemptState.SUCCEEDED)

    def failed(self, number: int, reason: FailureReason | None = None, decision: Decision | None = None) -> None:
        """Attempt ``number`` has failed for ``reason``, and ``decision`` follows from it."""
        self._end(number, state=AttemptState.FAILED, reason=reason, decision=decision)

    def _end(self, number: int, **changes: Any) -> None:
        known = self.all()
        ended = [replace(a, ended_at=self.now(), **changes) if a.number == number else a for a in known]
        if ended != known:
            self._write(ended)

    def _write(self, attempts: list[Attempt]) -> None:
        self.store.set(KEY, [encode(attempt) for attempt in attempts])
