"""The gate of each model: a log of create-only events below ``<models>/_gate/<model_type>/``; the newest one counts.

No event yet means open. An event that cannot be read means closed: whoever cannot tell must not train.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from f1_training.core.numbered import NumberedLog
from f1_training.core.storage import open_store
from trainer.contract import Catalogue, ContractError, FailureReason, ObjectStore, TrainingFailure
from trainer.contract.fields import Document, require

#: No model's name begins like this.
FOLDER = "_gate"
DAG_ID = "f1_training_gate"


class GateState(enum.StrEnum):
    """Whether runs pass."""

    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True, slots=True)
class GateEvent(Document):
    """``who`` opened or closed the gate of ``model_type``, when (``at``, RFC 3339 in UTC), and why.

    ``run_id`` is the DAG run's, ``report_uri`` the data checks' that closed it.
    """

    KIND: ClassVar[str] = "gate-event"

    model_type: str
    number: int
    state: GateState
    who: str
    reason: str
    at: str
    run_id: str = ""
    report_uri: str = ""

    def __post_init__(self) -> None:
        require(self.number >= 1, "number", f"is {self.number}; 1 or more")
        require(bool(self.who), "who", "is empty")
        require(bool(self.reason), "reason", "is empty; say why, for who comes after")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Who changes a gate, and why; see :class:`GateEvent`."""

    who: str
    reason: str
    run_id: str = ""
    report_uri: str = ""


class Gate:
    """The gates of all models whose registry is below ``uri``."""

    def __init__(self, uri: str, now: Callable[[], str] = _now) -> None:
        self._store: ObjectStore = open_store(uri)
        self._now = now

    def history(self, model_type: str) -> list[GateEvent]:
        """Every change, the oldest first."""
        return self._log(model_type).history()

    def newest(self, model_type: str) -> GateEvent | None:
        """The last change, None when there never was one.

        Raises:
            ContractError: it cannot be read, and counts as closed.
        """
        return self._log(model_type).newest()

    def close(self, model_type: str, change: Change) -> GateEvent:
        """Close it. The same run again changes nothing; another failure is one more event, with its own report."""

        def make(newest: GateEvent | None) -> GateEvent:
            known = newest is not None and newest.state is GateState.CLOSED
            if newest is not None and known and (newest.run_id, newest.reason) == (change.run_id, change.reason):
                return newest
            return self._event(model_type, newest, GateState.CLOSED, change)

        return self._changed(model_type, make)

    def open(self, model_type: str, change: Change) -> GateEvent:
        """Open it; one that is open stays as it is."""

        def make(newest: GateEvent | None) -> GateEvent:
            if newest is not None and newest.state is GateState.OPEN:
                return newest
            return self._event(model_type, newest, GateState.OPEN, change)

        return self._changed(model_type, make)

    def require_open(self, model_type: str) -> None:
        """Let nobody past a closed gate.

        Raises:
            TrainingFailure: ``DataInvalid`` saying who closed it, when, why, and how it is opened; what the storage
                refused, since a gate that cannot be read counts as closed.
        """
        how = f"to open it: mend the data, then run the DAG {DAG_ID} with action open and model_type {model_type}"
        try:
            newest = self.newest(model_type)
        except ContractError as e:
            message = f"the gate of {model_type} cannot be read, which counts as closed: {e}"
            raise TrainingFailure(FailureReason.DATA_INVALID, f"{message}; {how}") from e
        if newest is None or newest.state is GateState.OPEN:
            return
        report = f"; report: {newest.report_uri}" if newest.report_uri else ""
        message = f"the gate of {model_type} was closed at {newest.at} by {newest.who}: {newest.reason}{report}"
        raise TrainingFailure(FailureReason.DATA_INVALID, f"{message}; {how}")

    def _changed(self, model_type: str, make: Callable[[GateEvent | None], GateEvent]) -> GateEvent:
        made = self._log(model_type).append(make)
        assert made is not None
        return made

    def _event(self, model_type: str, newest: GateEvent | None, state: GateState, change: Change) -> GateEvent:
        return GateEvent(
            model_type=model_type,
            number=newest.number + 1 if newest else 1,
            state=state,
            who=change.who,
            reason=change.reason,
            at=self._now(),
            run_id=change.run_id,
            report_uri=change.report_uri,
        )

    def _log(self, model_type: str) -> NumberedLog[GateEvent]:
        return NumberedLog(store=self._store, folder=f"{FOLDER}/{model_type}", kind=GateEvent)


def readers(catalogue: Catalogue, splits: Iterable[str]) -> list[str]:
    """The models of the catalogue that read one of the tables ``splits``."""
    wanted = set(splits)
    return [
        name
        for name, entry in sorted(catalogue.entries.items())
        if wanted & {entry.splits.train, entry.splits.validation, entry.splits.test}
    ]
