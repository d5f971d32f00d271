"""Whether a version becomes champion: a pure decision, with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.contract import EvaluationResult

#: (metric of the model, the same of the naive baseline, whether lower is better)
PAIRS = (("test_mae", "baseline_mae", True), ("accuracy", "baseline_accuracy", False))


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Promote or not, and why."""

    promote: bool
    reason: str


def decide(evaluation: EvaluationResult) -> Decision:
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
