"""A version's report: one page for a strategist, complete in itself, beside the booster and its card."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from f1_training.core import plots
from f1_training.core.plots import Line
from f1_training.registry.card import ModelCard, lineage_summary, metrics_shown
from f1_training.registry.promotion import Decision, told

REPORT = "report.html"
#: Effects that are shown; the smallest say nothing.
EFFECTS = 20
#: Names of metrics for scripts, which say again what another one does.
SAID_TWICE = ("test", "final_loss", "final_accuracy")


def page(card: ModelCard, decision: Decision) -> str:
    """The page of ``card``: no script, no style sheet, no picture from elsewhere."""
    from jinja2 import Environment
    from markupsafe import Markup

    evaluation = card.evaluation
    template = resources.files("f1_training.registry").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    drawn = {name: Markup(svg) for name, svg in figures(card).items() if svg}  # noqa: S704 - built and escaped by us
    return environment.from_string(template).render(
        card=card,
        decision=decision,
        comparison=told(evaluation.comparison, card.unit) if evaluation.comparison is not None else "",
        metrics={name: value for name, value in metrics_shown(card).items() if name not in SAID_TWICE},
        intervals=evaluation.intervals,
        curves=evaluation.details.curves if evaluation.details is not None else (),
        curve_unit=evaluation.details.curve_unit if evaluation.details is not None else "",
        figures=drawn,
        facts=_facts(card),
        lineage=lineage_summary(card.result.lineage),
        seconds=card.result.seconds,
    )


def figures(card: ModelCard) -> dict[str, str]:
    """The plots by their headings; one without data is empty."""
    evaluation, details = card.evaluation, card.evaluation.details
    unit = card.unit or "value"
    regression = "test_mae" in evaluation.metrics
    error = f"mean absolute error ({unit})" if regression else "accuracy (share)"
    found: dict[str, str] = {}
    if details is not None and details.curves:
        found["What a set costs as it gets older"] = plots.lines(
            [Line(name=c.name, x=c.at, y=c.mean, low=c.low, high=c.high) for c in details.curves],
            x=f"{details.curve_feature} ({details.curve_unit or 'value'})",
            y=f"change of {card.target} ({unit})",
            title=f"Prediction over {details.curve_feature}",
        )
    history = [
        Line(name=name, x=tuple(float(n + 1) for n in range(len(values))), y=values)
        for name, values in sorted(card.result.history.items())
    ]
    found["Learning curves"] = plots.lines(
        history, x="boosting rounds", y=f"{card.result.metric} ({unit})", title="Metric by boosting round"
    )
    if details is not None and details.grid is not None:
        found["Predicted against actual"] = plots.cells(
            details.grid.counts,
            details.grid.edges,
            x=f"actual {card.target} ({unit})",
            y=f"predicted ({unit})",
            title="Predicted against actual",
        )
    by_race = {group.group: group.value for group in evaluation.by_group}
    rows = {group.group: f"{group.rows:,} rows" for group in evaluation.by_group}
    found["By circuit"] = plots.bars(by_circuit(card), x=error, title="Error by circuit")
    found["By race"] = plots.bars(by_race, x=error, title="Error by race", notes=rows)
    if details is not None:
        largest = sorted(details.effects.items(), key=lambda item: -item[1])[:EFFECTS]
        effect = unit if regression else "log-odds"
        found["What moves a prediction"] = plots.bars(
            dict(largest), x=f"mean size of the contribution ({effect})", title="Effect of each feature"
        )
    return found


def by_circuit(card: ModelCard) -> dict[str, float]:
    """The error of each grand prix over all its races, the largest first; none where groups are no races."""
    sums: dict[str, tuple[float, int]] = {}
    for group in card.evaluation.by_group:
        season, _, rest = group.group.partition("_R")
        name = rest.partition("_")[2]
        if not season.isdecimal() or not name:
            return {}
        value, rows = sums.get(name, (0.0, 0))
        sums[name] = value + group.value * group.rows, rows + group.rows
    means = {name: value / rows for name, (value, rows) in sums.items()}
    return dict(sorted(means.items(), key=lambda item: -item[1]))


def _facts(card: ModelCard) -> Mapping[str, Any]:
    result, spec, test = card.result, card.spec, card.test_snapshot
    return {
        "Trained": f"{result.rounds:,} of at most {spec.rounds:,} rounds with {result.workers} workers, {card.engine}",
        "Seconds": ", ".join(f"{name} {value:.1f}" for name, value in sorted(result.seconds.items())),
        "Training rows": ", ".join(f"{rows:,} {split}" for split, rows in sorted(result.rows.items())),
        "Training snapshot": f"{spec.snapshot.table}, taken {spec.snapshot.created_at or 'at an unknown time'}",
        "Test snapshot": f"{test.table}, {card.evaluation.rows:,} rows of {len(card.evaluation.by_group)} races",
        "Scanned": f"{spec.snapshot.bytes_scanned + test.bytes_scanned:,} bytes in BigQuery",
        "Libraries": ", ".join(f"{name} {version}" for name, version in sorted(result.libraries.items())),
        "Code": f"f1-training {card.package_version}, image {card.image}",
        "Run": f"{card.dag_id} {card.run_id}",
        "Model": f"{card.booster}, sha256 {card.sha256}",
    }
