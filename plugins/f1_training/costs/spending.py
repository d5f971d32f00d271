"""The bill's lines added up: by line of the budget, service, model and month, run. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from f1_training.core.costs import Budget, CostSettings

SERVICE_DAYS = 30
#: What is counted under a model's name but has none.
NO_MODEL = "infrastructure"


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """One row of ``costs/spent.sql``."""

    day: date
    service: str
    budget: Budget
    model_type: str
    job_id: str
    usd: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCost:
    """What one run of one model has cost until now. ``day`` is its first one, as ISO 8601."""

    job_id: str
    model_type: str
    budget: Budget
    day: str
    usd: float


class Level(enum.StrEnum):
    """How far the month is; each is worse than the one before."""

    FINE = "within the budget"
    WARN = "close to the budget"
    OVER = "over the budget"
    LIMIT = "at the hard limit"

    @property
    def rank(self) -> int:
        """0 for the best."""
        return list(Level).index(self)


def spent_rows(rows: Iterable[Mapping[str, Any]]) -> list[Spent]:
    """The query's rows. A label that names no line of the budget is not ours: infrastructure."""
    lines = {line.value: line for line in Budget}
    return [
        Spent(
            day=row["day"],
            service=row["service"] or "unknown",
            budget=lines.get(row["budget"], Budget.INFRASTRUCTURE),
            model_type=row["model_type"],
            job_id=row["job_id"],
            usd=float(row["usd"] or 0.0),
        )
        for row in rows
    ]


def since(today: date, settings: CostSettings) -> date:
    """The first day to ask for: that of the oldest month shown, and far enough back for the days by service."""
    number = today.year * 12 + today.month - 1 - (settings.months_shown - 1)
    return min(date(number // 12, number % 12 + 1, 1), today - timedelta(days=SERVICE_DAYS))


def counted(rows: Iterable[Spent], settings: CostSettings) -> list[Spent]:
    """Those that count against the budget."""
    return [row for row in rows if row.service not in settings.uncounted_services]


def month_of(day: date) -> str:
    """``2026-11``."""
    return f"{day:%Y-%m}"


def by_budget(rows: Iterable[Spent], month: str) -> dict[str, float]:
    """What the month has spent, by line of the budget; each line is there."""
    found = {line.value: 0.0 for line in Budget}
    for row in rows:
        if month_of(row.day) == month:
            found[row.budget.value] += row.usd
    return found


def by_service(rows: Iterable[Spent], today: date) -> dict[str, float]:
    """What the last 30 days have spent, by service, the dearest first."""
    first, found = today - timedelta(days=SERVICE_DAYS), dict[str, float]()
    for row in rows:
        if row.day > first:
            found[row.service] = found.get(row.service, 0.0) + row.usd
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def by_model_and_month(rows: Sequence[Spent]) -> dict[str, dict[str, float]]:
    """What each model has cost a month, by model; what belongs to no model comes last. Every month is in each."""
    months = sorted({month_of(row.day) for row in rows})
    names = sorted({row.model_type for row in rows}, key=lambda name: (not name, name))
    found = {name or NO_MODEL: dict.fromkeys(months, 0.0) for name in names}
    for row in rows:
        found[row.model_type or NO_MODEL][month_of(row.day)] += row.usd
    return found


def by_run(rows: Iterable[Spent]) -> list[RunCost]:
    """What each run has cost, the newest first."""
    lines: dict[str, list[Spent]] = {}
    for row in rows:
        if row.job_id:
            lines.setdefault(row.job_id, []).append(row)
    runs = [
        RunCost(
            job_id=job_id,
            model_type=max(row.model_type for row in found),
            budget=found[0].budget,
            day=min(row.day for row in found).isoformat(),
            usd=sum(row.usd for row in found),
        )
        for job_id, found in lines.items()
    ]
    return sorted(sorted(runs, key=lambda run: run.job_id), key=lambda run: run.day, reverse=True)


def level(usd: float, settings: CostSettings) -> Level:
    """How far a month is that has spent ``usd``."""
    if settings.hard_limit_usd is not None and usd >= settings.hard_limit_usd:
        return Level.LIMIT
    if usd > settings.budget_usd:
        return Level.OVER
    return Level.WARN if usd >= settings.warn_share * settings.budget_usd else Level.FINE
