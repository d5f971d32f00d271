"""The plots of a version's report: every axis with its unit, none without data."""

from __future__ import annotations

from collections.abc import Iterable

from f1_training.core import plots
from f1_training.core.plots import Line
from f1_training.registry.card import ModelCard
from trainer.contract import Curve, Details, GroupScore

#: Effects that are shown; the smallest say nothing.
EFFECTS = 20
#: What the values of a learning curve are in, where not the target's unit.
METRIC_UNITS = {"log_loss": "nats", "multi_log_loss": "nats"}


def figures(card: ModelCard) -> dict[str, str]:
    """The plots by their headings; one without data is empty."""
    details = card.evaluation.details
    return {
        **{_over(card, name): _curves(card, name, of) for name, of in curves_by_feature(details).items()},
        "Beside its baselines": _baselines(card),
        "Learning curves": _learning(card),
        "Predicted against actual": _grid(card, details),
        "Calibration": _calibration(card, details),
        "Which class is taken for which": _confusion(card, details),
        **_breakdowns(card),
        "What moves a prediction": _effects(card, details),
    }


def curves_by_feature(details: Details | None) -> dict[str, list[Curve]]:
    """The curves over each feature."""
    found: dict[str, list[Curve]] = {}
    for curve in details.drawn if details is not None else ():
        found.setdefault(curve.feature, []).append(curve)
    return found


def class_names(card: ModelCard) -> list[str]:
    """Names of the classes, or their numbers where the catalogue has none."""
    details = card.evaluation.details
    count = len(details.confusion) if details is not None else card.classes
    return list(card.class_names) if len(card.class_names) == count else [f"class {n}" for n in range(count)]


def _regression(card: ModelCard) -> bool:
    return "test_mae" in card.evaluation.metrics


def _unit(card: ModelCard) -> str:
    return card.unit or "value"


def _error(card: ModelCard) -> str:
    return f"mean absolute error ({_unit(card)})" if _regression(card) else "accuracy (share of rows)"


def _over(card: ModelCard, feature: str) -> str:
    return f"{card.target} over {feature}, other things equal"


def _curves(card: ModelCard, feature: str, curves: list[Curve]) -> str:
    return plots.lines(
        [Line(name=c.name, x=c.at, y=c.mean, low=c.low, high=c.high) for c in curves],
        x=f"{feature} ({curves[0].unit or 'value'})",
        y=f"change of {card.target} ({_unit(card)})",
        title=_over(card, feature),
    )


def _baselines(card: ModelCard) -> str:
    """The model, the linear and the naive one by the metric that all of them have."""
    metrics, comparison = card.evaluation.metrics, card.evaluation.comparison
    if _regression(card):
        names, label = (
            ("test_mae", "linear_mae", "baseline_mae"),
            f"mean absolute error ({_unit(card)}), lower is better",
        )
    else:
        names, label = ("macro_f1", "linear_macro_f1", "baseline_macro_f1"), "macro-F1 (0 to 1), higher is better"
    naive = "naive: a constant" if _regression(card) else "naive: always one class"
    shown = dict(zip(("this model", "linear model", naive), names, strict=True))
    values = {name: metrics[metric] for name, metric in shown.items() if metric in metrics}
    if comparison is not None and comparison.metric == names[0]:
        values["champion of then"] = comparison.champion
    return plots.bars(values, x=label, y="model", title="The model beside its baselines") if len(values) > 1 else ""


def _learning(card: ModelCard) -> str:
    metric = card.result.metric
    history = [
        Line(name=name, x=tuple(float(n + 1) for n in range(len(values))), y=values)
        for name, values in sorted(card.result.history.items())
    ]
    y = f"{metric} ({METRIC_UNITS.get(metric, _unit(card))})"
    return plots.lines(history, x="boosting rounds (number)", y=y, title="Metric by boosting round")


def _grid(card: ModelCard, details: Details | None) -> str:
    if details is None or details.grid is None:
        return ""
    x, y = f"actual {card.target} ({_unit(card)})", f"predicted ({_unit(card)})"
    return plots.cells(details.grid.counts, details.grid.edges, x=x, y=y, title="Predicted against actual")


def _calibration(card: ModelCard, details: Details | None) -> str:
    found = details.calibration if details is not None else None
    if found is None:
        return ""
    if _regression(card):
        x, y = f"mean prediction of a tenth of the rows ({_unit(card)})", f"mean {card.target} ({_unit(card)})"
    else:
        x, y = "probability of the class it names (share)", "how often it is right (share)"
    line = Line(name="this model", x=found.predicted, y=found.actual, dots=True)
    return plots.lines([line], x=x, y=y, title="Calibration: on the dashed line what is predicted happens", same=True)


def _confusion(card: ModelCard, details: Details | None) -> str:
    if details is None or not details.confusion:
        return ""
    x, y = "predicted class (number of rows)", "true class"
    return plots.matrix(details.confusion, class_names(card), x=x, y=y, title="Which class is taken for which")


def _breakdowns(card: ModelCard) -> dict[str, str]:
    """The error by whatever the evaluation broke it down by; by circuit and race where it did not."""
    found = {name: _bars(card, name, groups) for name, groups in card.evaluation.breakdowns.items()}
    means = by_circuit(card)
    if "circuit" not in found:
        title = "Error by circuit"
        found = {"circuit": plots.bars(means, x=_error(card), y="circuit", title=title), **found}
    group = "race" if means else "group"
    found[group] = _bars(card, group, card.evaluation.by_group)
    return {f"By {name}": svg for name, svg in found.items()}


def _bars(card: ModelCard, name: str, groups: Iterable[GroupScore]) -> str:
    values = {group.group: group.value for group in groups}
    rows = {group.group: f"{group.rows:,} rows" for group in groups}
    return plots.bars(values, x=_error(card), y=name, title=f"Error by {name}", notes=rows)


def _effects(card: ModelCard, details: Details | None) -> str:
    if details is None:
        return ""
    largest = dict(sorted(details.effects.items(), key=lambda item: -item[1])[:EFFECTS])
    unit = _unit(card) if _regression(card) else "log-odds"
    return plots.bars(largest, x=f"mean size of the contribution ({unit})", y="feature", title="Effect of each feature")


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
