"""Whether a version becomes champion: a pure decision, with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.contract import Comparison, EvaluationResult

#: (metric of the model, the same of the naive baseline, whether lower is better)
PAIRS = (("test_mae", "baseline_mae", True), ("accuracy", "baseline_accuracy", False))
#: Metrics in the target's unit.
IN_UNIT = ("test_mae",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Promote or not, and why."""

    promote: bool
    reason: str


def decide(evaluation: EvaluationResult) -> Decision:
    """A version becomes champion if it beats the naive baseline, and the champion by more than the noise.

    The noise is the interval of the difference on the same rows: all of it must be on the better side. An equal model
    is no better, so the champion stays. Before all that, what physics says of a curve must hold.
    """
    against_physics = _against_physics(evaluation)
    if against_physics is not None:
        return against_physics
    against_baseline = _against_baseline(evaluation)
    comparison = evaluation.comparison
    if not against_baseline.promote or comparison is None:
        return against_baseline
    words = told(comparison, evaluation.unit)
    if comparison.interval is None:
        return Decision(promote=True, reason=f"{against_baseline.reason}; {words}")
    return Decision(promote=comparison.interval.high < 0, reason=f"{words}; {against_baseline.reason}")


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
    details = evaluation.details
    if details is None or not details.curve_rises:
        return None
    wrong = [curve for curve in details.curves if not curve.slope_interval.high >= 0]
    if not wrong:
        return None
    unit = f" {evaluation.unit}" if evaluation.unit else ""
    named = ", ".join(f"{curve.name} ({curve.slope:+.3g}{unit} a unit)" for curve in wrong)
    reason = f"physics: other things equal the prediction must rise with {details.curve_feature}, and falls for {named}"
    return Decision(promote=False, reason=reason)


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
