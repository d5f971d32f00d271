"""The lines of a pod's log as a person reads them in Airflow's task log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Of the reports between two boundaries, one in this many is shown.
PROGRESS_EVERY = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLine:
    """One line; ``severity`` is a level of :mod:`logging` by name."""

    text: str
    severity: str = "INFO"


@dataclass(kw_only=True)
class ChiefLogReader:
    """Turns raw lines into readable ones. Of ``progress`` events every 15th is kept (one in about 30 seconds)."""

    _progress: int = 0

    def read(self, raw: str) -> LogLine | None:
        """The readable line, or None when it says nothing new. What is not JSON is shown as it is."""
        text = raw.strip()
        if not text:
            return None
        try:
            record = json.loads(text)
        except ValueError:
            return LogLine(text=text)
        if not isinstance(record, dict) or "message" not in record:
            return LogLine(text=text)
        return self._of(record)

    def _of(self, record: Mapping[str, Any]) -> LogLine | None:
        event, severity = record.get("event"), str(record.get("severity", "INFO"))
        if event == "progress":
            self._progress += 1
            if self._progress % PROGRESS_EVERY:
                return None
        if event == "boundary":
            return LogLine(text=_boundary(record), severity=severity)
        return LogLine(text=str(record["message"]), severity=severity)


def _boundary(record: Mapping[str, Any]) -> str:
    try:
        return (
            f"round {record['round']} of {record['of']}, {record['metric']} {float(record['value']):.6g}, "
            f"{_rate(float(record['rows_per_s']))} rows/s, {_clock(float(record['eta_s']))} left"
        )
    except (KeyError, TypeError, ValueError):
        return str(record["message"])


def _rate(rows_per_s: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rows_per_s >= size:
            return f"{rows_per_s / size:.3g}{unit}"
    return f"{rows_per_s:.0f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
