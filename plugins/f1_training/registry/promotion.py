"""Whether a version becomes champion: a pure decision, with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.contract import Comparison, EvaluationResult
from trainer.contract.catalogue import GatesEntry
from trainer.contract.evaluation import IN_UNIT

#: (metric of the model, the same of the naive baseline, whether lower is better)
PAIRS = (("test_mae", "baseline_mae", True), ("accuracy", "baseline_accuracy", False))


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Promote or not, and why."""

    promote: bool
    reason: str


def decide(evaluation: EvaluationResult, gates: GatesEntry | None = None) -> Decision:
    """A version becomes champion if it passes ``gates``, and beats the champion by more than the noise.

    The noise is the interval of the difference on the same rows: all of it must be on the better side. An equal model
    is no better, so the champion stays. Before all that, what physics says of a curve must hold.
    """
    wanted = gates or GatesEntry()
    refused = _against_physics(evaluation) or _out_of_bounds(evaluation, wanted)
    if refused is not None:
        return refused
    passed = []
    if wanted.beats_baseline:
        passed.append(_against_baseline(evaluation))
    if wanted.beats_linear:
        passed.append(_against_linear(evaluation))
    for found in passed:
        if not found.promote:
            return found
    reason = "; ".join(found.reason for found in passed)
    comparison = evaluation.comparison
    if comparison is None:
        return Decision(promote=True, reason=reason or "there is no champion")
    words = told(comparison, evaluation.unit)
    if comparison.interval is None:
        return Decision(promote=True, reason="; ".join(filter(None, (reason, words))))
    return Decision(promote=comparison.interval.high < 0, reason="; ".join(filter(None, (words, reason))))


def told(comparison: Comparison, unit: str) -> str:
    """The comparison in words."""
    if comparison.interval is None:
        return f"the champion {comparison.version} cannot be compared: {comparison.problem}"
    shown = f" {unit}" if unit and comparison.metric in IN_UNIT else ""
    low, high = comparison.interval.low, comparison.interval.high
    verdict = "beats" if high < 0 else "is worse than" if low > 0 else "is no better than"
    return (
        f"{comparison.metric} {comparison.own:.6g}{shown} {verdict} the champion {comparison.version}'s "
        f"{comparison.champion:.6g}{shown}: difference {comparison.difference:+.4g}{shown}, "
        f"{comparison.interval.level:.0%} between {low:+.4g} and {high:+.4g}"
    )


def _against_physics(evaluation: EvaluationResult) -> Decision | None:
    """A refusal when a curve that must rise falls beyond its noise: its planner would hear that old tyres are quick."""
    curves = evaluation.details.drawn if evaluation.details is not None else ()
    wrong = [curve for curve in curves if curve.rises and not curve.slope_interval.high >= 0]
    if not wrong:
        return None
    unit = f" {evaluation.unit}" if evaluation.unit else ""
    named = [
        f"{feature}, and falls for "
        + ", ".join(f"{c.name} ({c.slope:+.3g}{unit} a unit)" for c in wrong if c.feature == feature)
        for feature in dict.fromkeys(curve.feature for curve in wrong)
    ]
    reason = f"physics: other things equal the prediction must rise with {'; with '.join(named)}"
    return Decision(promote=False, reason=reason)


def _out_of_bounds(evaluation: EvaluationResult, gates: GatesEntry) -> Decision | None:
    """A refusal when a metric is not where the model's gates want it; one that was not measured is not there either."""
    problems = []
    for metric, bound, most in [
        *((name, value, True) for name, value in sorted(gates.most.items())),
        *((name, value, False) for name, value in sorted(gates.least.items())),
    ]:
        unit = f" {evaluation.unit}" if evaluation.unit and metric in IN_UNIT else ""
        wanted = f"the gates of this model want {'at most' if most else 'at least'} {bound:.6g}{unit}"
        value = evaluation.metrics.get(metric)
        if value is None:
            problems.append(f"{metric} was not measured; {wanted}")
        elif not (value <= bound if most else value >= bound):
            problems.append(f"{metric} is {value:.6g}{unit}; {wanted}")
    return Decision(promote=False, reason="; ".join(problems)) if problems else None


def _against_linear(evaluation: EvaluationResult) -> Decision:
    """Trees that are worse than a straight line beyond the noise are not worth serving."""
    found = evaluation.linear
    if found is None:
        return Decision(promote=False, reason="there is no linear baseline to compare with, and the gates want one")
    worse = not found.interval.low <= 0
    unit = f" {evaluation.unit}" if evaluation.unit and found.metric in IN_UNIT else ""
    low, high = found.interval.low, found.interval.high
    reason = (
        f"{found.metric} {found.own:.6g}{unit} is {'worse' if worse else 'no worse'} than the linear baseline's "
        f"{found.linear:.6g}{unit}: difference {found.difference:+.4g}{unit}, "
        f"{found.interval.level:.0%} between {low:+.4g} and {high:+.4g}"
    )
    return Decision(promote=not worse, reason=reason)


def _against_baseline(evaluation: EvaluationResult) -> Decision:
    """A model that is no better than the naive baseline on the test split helps nobody."""
    for metric, baseline, lower in PAIRS:
        if metric not in evaluation.metrics or baseline not in evaluation.metrics:
            continue
        own, naive = evaluation.metrics[metric], evaluation.metrics[baseline]
        better = own < naive if lower else own > naive
        unit = f" {evaluation.unit}" if evaluation.unit and lower else ""
        relation = "beats" if better else "does not beat"
        reason = f"{metric} {own:.6g}{unit} {relation} the naive baseline's {naive:.6g}{unit}"
        return Decision(promote=better, reason=f"{reason} on {evaluation.rows:,} rows of split {evaluation.split!r}")
    return Decision(promote=False, reason="the evaluation has no metric that compares with a naive baseline")
