"""The data checks' report as one page: what failed first, then every check, then each column's distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from f1_training.core.results import CheckResult
from f1_training.data.judge import Histogram, TableStatistics
from f1_training.data.suite import read_suites

JSON, HTML = "checks.json", "checks.html"
#: Of a plot, in pixels: the bars' area, and the room for labels left and below.
WIDTH, HEIGHT, LEFT, BELOW = 330, 120, 40, 34
SERIES = {"now": "now", "before": "in the last good table"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One bar, in pixels."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """The shares of a column's values by bin, beside those of the last good table."""

    title: str
    axis: str
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    top: str


def page(
    title: str,
    facts: Mapping[str, str],
    results: Sequence[CheckResult],
    statistics: Mapping[str, TableStatistics],
    last: Mapping[str, TableStatistics],
) -> str:
    """The page, complete in itself: no script, no style sheet, no picture from elsewhere."""
    from jinja2 import Environment

    template = resources.files("f1_training.data").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    by_table: dict[str, list[CheckResult]] = {}
    for result in results:
        by_table.setdefault(result.split, []).append(result)
    return environment.from_string(template).render(
        title=title,
        facts=facts,
        failed=[r for r in results if r.failed],
        warned=[r for r in results if not r.passed and not r.failed],
        passed=sum(1 for r in results if r.passed and not r.skipped),
        skipped=sum(1 for r in results if r.skipped),
        tables=by_table,
        statistics=statistics,
        last=last,
        plots={name: plots(found, last.get(name)) for name, found in statistics.items()},
        size={"width": WIDTH, "height": HEIGHT, "left": LEFT, "below": BELOW},
    )


def plots(now: TableStatistics, before: TableStatistics | None) -> list[Plot]:
    """A plot for each column that has bins."""
    units = {
        name: column.unit
        for suite in read_suites().values()
        if now.table in suite.labels
        for name, column in suite.columns.items()
    }
    found = []
    for column, histogram in now.histograms.items():
        old = before.histograms.get(column) if before is not None else None
        comparable = old if old is not None and old.edges == histogram.edges else None
        found.append(_plot(column, units.get(column, ""), histogram, comparable))
    return found


def _plot(column: str, unit: str, now: Histogram, before: Histogram | None) -> Plot:
    series = {"now": _shares(now)} | ({"before": _shares(before)} if before is not None else {})
    top = max((share for shares in series.values() for share in shares), default=0.0) or 1.0
    slot = WIDTH / len(now.counts)
    width = slot * 0.8 / len(series)
    bars = []
    for place, (kind, shares) in enumerate(series.items()):
        for number, share in enumerate(shares):
            height = HEIGHT * share / top
            bars.append(
                Bar(
                    x=round(LEFT + slot * (number + 0.1) + width * place, 1),
                    y=round(HEIGHT - height, 1),
                    width=round(width, 1),
                    height=round(height, 1),
                    kind=kind,
                    title=f"{_bin(now.edges, number)}: {share:.1%} {SERIES[kind]}",
                )
            )
    ticks = tuple((round(LEFT + slot * (number + 1), 1), _short(edge)) for number, edge in enumerate(now.edges))
    return Plot(title=column, axis=unit or "value", bars=tuple(bars), ticks=ticks, top=f"{top:.0%}")


def _short(number: float) -> str:
    """So that labels have room beside each other."""
    return f"{number / 1000:g}k" if abs(number) >= 1000 else f"{number:g}"


def _shares(histogram: Histogram) -> list[float]:
    total = sum(histogram.counts) or 1
    return [count / total for count in histogram.counts]


def _bin(edges: Sequence[float], number: int) -> str:
    if number == 0:
        return f"up to {edges[0]:g}"
    if number == len(edges):
        return f"above {edges[-1]:g}"
    return f"{edges[number - 1]:g} to {edges[number]:g}"


def as_json(report: dict[str, Any], statistics: Mapping[str, TableStatistics]) -> dict[str, Any]:
    """The report of :func:`f1_training.core.results.report`, with what the tables are like."""
    from trainer.contract.fields import encode

    return {**report, "tables": {name: encode(found) for name, found in statistics.items()}}
