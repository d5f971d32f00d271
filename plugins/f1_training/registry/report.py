"""A version's report: one page for a strategist, complete in itself, beside the booster and its card."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from f1_training.registry.card import ModelCard, lineage_summary, metrics_shown
from f1_training.registry.promotion import Decision, told
from f1_training.registry.report_figures import curves_by_feature, figures
from trainer.contract import Interval
from trainer.contract.evaluation import IN_UNIT

REPORT = "report.html"
#: Metrics beside those of the naive baseline.
NAIVE = (("test_mae", "baseline_mae"), ("accuracy", "baseline_accuracy"), ("macro_f1", "baseline_macro_f1"))
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
        tiles=tiles(card),
        beside=beside(card),
        curves=curves_by_feature(evaluation.details),
        figures=drawn,
        facts=_facts(card),
        lineage=list(zip(card.result.lineage, lineage_summary(card.result.lineage), strict=True)),
        seconds=sorted(card.result.seconds.items()),
    )


def tiles(card: ModelCard) -> list[tuple[str, float, Interval | None]]:
    """The metrics that are worth a large number, each with its interval."""
    intervals, unit = card.evaluation.intervals, f"_{card.unit}" if card.unit else ""
    of = {f"{name}{unit}" if name in IN_UNIT else name: name for name in card.evaluation.metrics}
    return [
        (name, value, intervals.get(of.get(name, "")))
        for name, value in metrics_shown(card).items()
        if name not in SAID_TWICE
    ]


def beside(card: ModelCard) -> list[tuple[str, ...]]:
    """Against whom, by which metric, its own value, the other's, the difference and its interval."""
    evaluation, found = card.evaluation, []
    champion, linear, metrics = evaluation.comparison, evaluation.linear, evaluation.metrics
    if champion is not None and champion.interval is not None:
        values = (champion.own, champion.champion, champion.difference)
        found.append(_compared(f"champion {champion.version}", champion.metric, values, champion.interval, card.unit))
    elif champion is not None:
        found.append((f"champion {champion.version}", champion.problem, "", "", "", ""))
    if linear is not None:
        values = (linear.own, linear.linear, linear.difference)
        name = f"linear model of {linear.rows:,} rows"
        found.append(_compared(name, linear.metric, values, linear.interval, card.unit))
    for metric, naive in NAIVE:
        if metric in metrics and naive in metrics:
            values = (metrics[metric], metrics[naive], metrics[metric] - metrics[naive])
            found.append(_compared("naive baseline", metric, values, None, card.unit))
    return found


def _compared(
    name: str, metric: str, values: tuple[float, float, float], between: Interval | None, unit: str
) -> tuple[str, ...]:
    own, other, difference = values
    shown = f" {unit}" if unit and metric in IN_UNIT else ""
    around = f"{between.level:.0%}: {between.low:+.4g} to {between.high:+.4g}{shown}" if between is not None else ""
    return name, metric, f"{own:.5g}{shown}", f"{other:.5g}{shown}", f"{difference:+.4g}{shown}", around


def _facts(card: ModelCard) -> Mapping[str, Any]:
    result, spec, test = card.result, card.spec, card.test_snapshot
    return {
        "Trained": f"{result.rounds:,} of at most {spec.rounds:,} rounds with {result.workers} workers, {card.engine}",
        "Machine of a worker": card.machine or "not recorded",
        "Cost": card.cost.told() if card.cost is not None else "not estimated",
        "Training rows": ", ".join(f"{rows:,} {split}" for split, rows in sorted(result.rows.items())),
        "Training snapshot": f"{spec.snapshot.table}, taken {spec.snapshot.created_at or 'at an unknown time'}",
        "Test snapshot": f"{test.table}, {card.evaluation.rows:,} rows of {len(card.evaluation.by_group)} groups",
        "Scanned": f"{spec.snapshot.bytes_scanned + test.bytes_scanned:,} bytes in BigQuery",
        "Libraries": ", ".join(f"{name} {version}" for name, version in sorted(result.libraries.items())),
        "Code": f"f1-training {card.package_version}, image {card.image}",
        "Run": f"{card.dag_id} {card.run_id}",
        "Model": f"{card.booster}, sha256 {card.sha256}",
    }
