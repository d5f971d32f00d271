"""Scores of predictions, by group and overall, with an interval by a bootstrap over groups.

Rows of one race share their weather, their track and their drivers' form, so whole races are drawn, not rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.contract import FailureReason, GroupScore, Interval, Objective, TrainingFailure

Floats = npt.NDArray[np.float64]
Doubles = Floats
Integers = npt.NDArray[np.int64]

DRAWS = 2000
LEVEL = 0.95
#: Probabilities are kept this far from 0 and 1, so that one sure mistake does not make the log loss infinite.
SMALLEST = 1e-15


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """What :class:`trainer.contract.EvaluationResult` says about the predictions themselves."""

    rows: int
    metrics: Mapping[str, float]
    by_group: tuple[GroupScore, ...]
    intervals: Mapping[str, Interval]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Rows with what was predicted for them.

    ``predictions`` has one number a row: the value, or the probability of class 1; or one column a class.
    ``groups`` is each row's group.
    """

    target: Floats
    predictions: Floats
    groups: Sequence[str]

    def __post_init__(self) -> None:
        for name, values in (("target", self.target), ("prediction", self.predictions)):
            bad = int(np.count_nonzero(~np.isfinite(values)))
            if bad or not len(values):
                message = f"{bad} of {len(values)} values of the {name} are not finite numbers; nothing can be scored"
                raise TrainingFailure(FailureReason.DATA_INVALID, message)


def score(rows: Scored, objective: Objective, baseline: float = 0.0, seed: int = 0) -> Score:
    """Score predictions.

    Args:
        rows: target, predictions and groups of the rows.
        objective: what the model was trained for.
        baseline: the naive constant prediction of a regression; a classifier's is the most frequent class.
        seed: of the bootstrap; the same seed gives the same intervals.

    Raises:
        TrainingFailure: ``DataInvalid`` when there are no rows, or classes that the model does not know.
    """
    if objective in (Objective.BINARY_LOGISTIC, Objective.MULTICLASS):
        return _classifier(rows, seed)
    return _regression(rows, baseline, seed)


def losses(rows: Scored, objective: Objective) -> tuple[str, Floats]:
    """The metric that two models are compared by, lower is better, and its value for each row (rows,)."""
    if objective not in (Objective.BINARY_LOGISTIC, Objective.MULTICLASS):
        return "test_mae", np.abs(rows.predictions - rows.target)
    probabilities = _by_class(rows.predictions)
    chosen = probabilities[np.arange(len(rows.target)), rows.target.astype(np.int64)]
    return "log_loss", -np.log(np.clip(chosen, SMALLEST, 1.0))


def paired(own: Floats, other: Floats, groups: Sequence[str], seed: int = 0) -> tuple[float, Interval]:
    """The mean difference of two models' losses of the same rows, and its interval when whole groups are drawn."""
    index, counts = _indexed(groups)
    sums = np.bincount(index, weights=own - other, minlength=len(counts)).astype(np.float64)
    return float((own - other).mean()), interval(sums, counts, seed)


def _by_class(probabilities: Floats) -> Floats:
    if probabilities.ndim == 1:
        return np.column_stack((1 - probabilities, probabilities))
    return probabilities


def _indexed(groups: Sequence[str]) -> tuple[npt.NDArray[np.intp], Floats]:
    """Each row's group as a number, and the rows of each group."""
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    return index, np.bincount(index, minlength=len(names)).astype(np.float64)


def _regression(rows: Scored, baseline: float, seed: int) -> Score:
    error = np.abs(rows.predictions - rows.target)
    naive = np.abs(baseline - rows.target)
    per_row = {"test_mae": error, "baseline_mae": naive}
    metrics = {name: float(values.mean()) for name, values in per_row.items()}
    metrics["rmse"] = float(np.sqrt(np.mean(error**2)))
    return _scored(rows, metrics, error, {"test_mae": error, "baseline_mae": naive}, seed)


def _classifier(rows: Scored, seed: int) -> Score:
    probabilities = _by_class(rows.predictions)
    labels = rows.target.astype(np.int64)
    classes = probabilities.shape[1]
    unknown = sorted({int(v) for v in np.unique(labels) if not 0 <= v < classes})
    if unknown or not np.array_equal(labels, rows.target):
        message = f"the target has values that are none of the model's classes 0 to {classes - 1}: {unknown[:5]}"
        raise TrainingFailure(FailureReason.DATA_INVALID, message)
    predicted = np.argmax(probabilities, axis=1)
    right = (predicted == labels).astype(np.float64)
    chosen = np.clip(probabilities[np.arange(len(labels)), labels], SMALLEST, 1.0)
    loss = -np.log(chosen)
    metrics = {
        "accuracy": float(right.mean()),
        "baseline_accuracy": float(np.bincount(labels, minlength=classes).max() / len(labels)),
        "log_loss": float(loss.mean()),
        "macro_f1": macro_f1(labels, predicted, classes),
    }
    return _scored(rows, metrics, right, {"accuracy": right, "log_loss": loss}, seed)


def macro_f1(labels: Integers, predicted: npt.NDArray[np.intp], classes: int) -> float:
    """The mean over classes of the harmonic mean of precision and recall; a class that never occurs is left out."""
    values = []
    for number in range(classes):
        hits = np.count_nonzero((labels == number) & (predicted == number))
        named, there = np.count_nonzero(predicted == number), np.count_nonzero(labels == number)
        if named + there:
            values.append(2 * hits / (named + there))
    return float(np.mean(values))


def interval(sums: Floats, counts: Floats, seed: int, draws: int = DRAWS) -> Interval:
    """The interval of ``sum(sums) / sum(counts)`` when groups are drawn with replacement; one entry a group."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, len(sums), size=(draws, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(low=float(low), high=float(high), level=LEVEL)


def _scored(
    rows: Scored, metrics: Mapping[str, float], shown: Floats, with_interval: Mapping[str, Floats], seed: int
) -> Score:
    names, index = np.unique(np.asarray(rows.groups, dtype=str), return_inverse=True)
    counts = np.bincount(index, minlength=len(names)).astype(np.float64)
    means = np.bincount(index, weights=shown, minlength=len(names)) / counts
    groups = (
        GroupScore(group=str(name), rows=int(n), value=float(v))
        for name, n, v in zip(names, counts, means, strict=True)
    )
    intervals = {
        name: interval(np.bincount(index, weights=values, minlength=len(names)).astype(np.float64), counts, seed)
        for name, values in with_interval.items()
    }
    return Score(rows=len(rows.target), metrics=metrics, by_group=tuple(groups), intervals=intervals)
