"""The cost report: a document that plans read, and a page for people, complete in itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib import resources
from typing import ClassVar

from f1_training.core import plots
from f1_training.core.costs import CostSettings
from f1_training.core.plots import Line
from f1_training.costs import spending
from f1_training.costs.advice import Advice
from f1_training.costs.planned import MonthPlan
from f1_training.costs.spending import Level, RunCost, Spent
from trainer.contract.fields import Document

#: Below the artifacts' URI: the newest, which plans read, and one a month.
FOLDER, NEWEST = "costs", "report"
#: Runs on the page; the document has all.
RUNS_SHOWN = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class CostReport(Document):
    """What was spent until ``at`` (RFC 3339, UTC), in US dollars after credits.

    ``lines`` is the month by line of the budget, ``budget`` what it has for each. ``models`` maps a model to its
    months. ``services`` has the last 30 days, those of ``uncounted``, too, which count for nothing else here.
    """

    KIND: ClassVar[str] = "cost-report"

    at: str
    month: str
    level: Level
    month_usd: float
    budget_usd: float
    hard_limit_usd: float | None
    lines: Mapping[str, float]
    budget: Mapping[str, float]
    services: Mapping[str, float]
    uncounted: tuple[str, ...]
    models: Mapping[str, Mapping[str, float]]
    runs: tuple[RunCost, ...]
    plan: MonthPlan
    advice: tuple[Advice, ...]
    billed_until: str = ""

    def worse_than(self, before: CostReport | None) -> bool:
        """Whether the owners have not been told yet: the level is new to this month, and not fine."""
        if self.level is Level.FINE:
            return False
        same_month = before is not None and before.month == self.month
        return not same_month or before is None or self.level.rank > before.level.rank

    def told(self) -> str:
        """The month in one line."""
        share = f" ({self.month_usd / self.budget_usd:.0%})" if self.budget_usd else ""
        limit = "" if self.hard_limit_usd is None else f", hard limit {self.hard_limit_usd:.2f}"
        spent = f"{self.month}: {self.month_usd:.2f} of {self.budget_usd:.2f} USD spent{share}{limit}"
        return f"{spent}, {self.level.value}"


def make_report(
    rows: Sequence[Spent], settings: CostSettings, now: datetime, plan: MonthPlan, advice: Sequence[Advice]
) -> CostReport:
    """The report of the bill's ``rows``."""
    rows_counted = spending.counted(rows, settings)
    month = spending.month_of(now.date())
    lines = spending.by_budget(rows_counted, month)
    month_usd = sum(lines.values())
    return CostReport(
        at=now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        month=month,
        level=spending.level(month_usd, settings),
        month_usd=month_usd,
        budget_usd=settings.budget_usd,
        hard_limit_usd=settings.hard_limit_usd,
        lines=lines,
        budget={name: settings.monthly_usd.get(name, 0.0) for name in lines},
        services=spending.by_service(rows, now.date()),
        uncounted=settings.uncounted_services,
        models=spending.by_model_and_month(rows_counted),
        runs=tuple(spending.by_run(rows_counted)),
        plan=plan,
        advice=tuple(advice),
        billed_until=max((row.day.isoformat() for row in rows), default=""),
    )


def page(report: CostReport) -> str:
    """The page: no script, no style sheet, no picture from elsewhere."""
    from jinja2 import Environment
    from markupsafe import Markup

    template = resources.files("f1_training.costs").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    months = sorted({month for by_month in report.models.values() for month in by_month})
    return environment.from_string(template).render(
        report=report,
        months=months,
        totals={m: sum(by_month.get(m, 0.0) for by_month in report.models.values()) for m in months},
        runs=report.runs[:RUNS_SHOWN],
        # Built and escaped by us.
        figures={name: Markup(svg) for name, svg in figures(report).items() if svg},  # noqa: S704
    )


def figures(report: CostReport) -> dict[str, str]:
    """The plots by their headings; one without data is empty."""
    months = sorted({month for by_month in report.models.values() for month in by_month})
    return {
        "Cost by model and month": plots.lines(
            [
                Line(
                    name=name,
                    x=[_months_back(month, report.month) for month in months],
                    y=[by_month.get(month, 0.0) for month in months],
                )
                for name, by_month in report.models.items()
            ],
            x=f"months from {report.month}",
            y="cost (USD)",
            title="Cost by model and month",
        ),
        "This month, by line of the budget": plots.bars(
            report.lines,
            x="spent (USD)",
            y="line of the budget",
            title="Spent this month",
            notes={name: f"of {usd:.0f}" for name, usd in report.budget.items()},
        ),
        "Last 30 days, by service": plots.bars(
            {n: usd for n, usd in report.services.items() if n not in report.uncounted},
            x="spent (USD)",
            y="service",
            title="Spent in 30 days",
        ),
    }


def _months_back(month: str, newest: str) -> float:
    first, last = (date.fromisoformat(f"{m}-01") for m in (month, newest))
    return float((first.year - last.year) * 12 + first.month - last.month)
