"""The event log of a chief as numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Events:
    """What the chief logged, in order."""

    all: tuple[dict[str, Any], ...]

    @classmethod
    def read(cls, lines: Iterable[str]) -> Self:
        """The lines that are events."""
        found = []
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and "event" in record:
                found.append(record)
        return cls(tuple(found))

    def of(self, event: str) -> list[dict[str, Any]]:
        """All events of one name."""
        return [record for record in self.all if record["event"] == event]

    def first_after(self, events: Sequence[str], at: float) -> dict[str, Any] | None:
        """The first event of one of these names after the time ``at``."""
        return next((r for r in self.all if r["event"] in events and seconds(r) > at), None)


def seconds(record: dict[str, Any]) -> float:
    """When it was, in seconds since 1970."""
    return datetime.fromisoformat(record["time"]).timestamp()
