"""How often a task has tried, kept in Airflow's task state store: it outlives the process, retries and clearing.

Airflow's own try number will not do: a killed process uses one up although the job that it started goes on.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Protocol

KEY = "attempt"


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
    """The newest attempt; ``number`` counts from 1."""

    number: int
    state: AttemptState


@dataclass(frozen=True, slots=True)
class Attempts:
    """The attempts of one task instance."""

    store: StateStore

    def newest(self) -> Attempt | None:
        """The newest attempt, or None before the first."""
        value = self.store.get(KEY)
        if value is None:
            return None
        return Attempt(number=int(value["number"]), state=AttemptState(value["state"]))

    def begin(self, number: int) -> int:
        """Attempt ``number`` is about to start, or goes on."""
        self._set(number, AttemptState.RUNNING)
        return number

    def begin_next(self) -> int:
        """The number of the attempt after the newest, which is about to start."""
        newest = self.newest()
        return self.begin(newest.number + 1 if newest else 1)

    def end(self, number: int, state: AttemptState) -> None:
        """Attempt ``number`` has ended."""
        self._set(number, state)

    def _set(self, number: int, state: AttemptState) -> None:
        self.store.set(KEY, {"number": number, "state": state.value})
