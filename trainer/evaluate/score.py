"""Scores of predictions, by group and overall, with intervals by a bootstrap over groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.contract import FailureReason, GroupScore, Interval, Objective, TrainingFailure
from trainer.evaluate import calibration
from trainer.evaluate.bootstrap import Drawn, between

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

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

    target: Doubles
    predictions: Doubles
    groups: Sequence[str]

    def __post_init__(self) -> None:
        for name, values in (("target", self.target), ("prediction", self.predictions)):
            bad = int(np.count_nonzero(~np.isfinite(values)))
            if bad or not len(values):
                message = f"{bad} of {len(values)} values of the {name} are not finite numbers; nothing can be scored"
                raise TrainingFailure(FailureReason.DATA_INVALID, message)


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """What a classifier says of each row: [rows] true ``labels``, ``predicted`` labels, 1 where it is ``right``,
    ``chances`` of the class that it names, and its ``loss``.
    """

    classes: int
    labels: Integers
    predicted: Integers
    right: Doubles
    chances: Doubles
    loss: Doubles


def is_classifier(objective: Objective) -> bool:
    """Whether predictions are probabilities of classes."""
    return objective in (Objective.BINARY_LOGISTIC, Objective.MULTICLASS)


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
    return _classifier(rows, seed) if is_classifier(objective) else _regression(rows, baseline, seed)


def shown(rows: Scored, objective: Objective) -> Doubles:
    """What a group's score is the mean of, for each row (rows,): the absolute error, or whether the class is right."""
    return named(rows).right if is_classifier(objective) else np.abs(rows.predictions - rows.target)


def losses(rows: Scored, objective: Objective) -> tuple[str, Doubles]:
    """The metric that two models are compared by, lower is better, and its value for each row (rows,)."""
    if is_classifier(objective):
        return "log_loss", named(rows).loss
    return "test_mae", np.abs(rows.predictions - rows.target)


def named(rows: Scored) -> Named:
    """What a classifier says of each row.

    Raises:
        TrainingFailure: ``DataInvalid`` when the target has classes that the model does not know.
    """
    chances = rows.predictions
    if chances.ndim == 1:
        chances = np.column_stack((1 - chances, chances))
    labels, classes = rows.target.astype(np.int64), chances.shape[1]
    unknown = sorted({int(v) for v in np.unique(labels) if not 0 <= v < classes})
    if unknown or not np.array_equal(labels, rows.target):
        message = f"the target has values that are none of the model's classes 0 to {classes - 1}: {unknown[:5]}"
        raise TrainingFailure(FailureReason.DATA_INVALID, message)
    predicted = np.argmax(chances, axis=1)
    return Named(
        classes=classes,
        labels=labels,
        predicted=predicted,
        right=(predicted == labels).astype(np.float64),
        chances=chances.max(axis=1),
        loss=-np.log(np.clip(chances[np.arange(len(labels)), labels], SMALLEST, 1.0)),
    )


def _regression(rows: Scored, baseline: float, seed: int) -> Score:
    error, naive, target = np.abs(rows.predictions - rows.target), np.abs(baseline - rows.target), rows.target
    drawn = Drawn(rows.groups, seed)
    metrics = {
        "test_mae": float(error.mean()),
        "baseline_mae": float(naive.mean()),
        "rmse": float(np.sqrt(np.mean(error**2))),
    }
    intervals = {
        "test_mae": drawn.mean(error),
        "baseline_mae": drawn.mean(naive),
        "rmse": between(np.sqrt(drawn.means(error**2))),
    }
    away = target - target.mean()
    if away.any():  # the share of nothing that is explained is no number
        metrics["r2"] = 1 - float(error @ error) / float(away @ away)
        varied = drawn.means(away**2) - drawn.means(away) ** 2
        known = varied > 0
        intervals["r2"] = between(1 - drawn.means(error**2)[known] / varied[known])
    return Score(rows=len(target), metrics=metrics, by_group=_by_group(drawn, error), intervals=intervals)


def _classifier(rows: Scored, seed: int) -> Score:
    found, drawn = named(rows), Drawn(rows.groups, seed)
    labels, count = found.labels, np.bincount(found.labels, minlength=found.classes)
    most = np.full(len(labels), int(count.argmax()))
    metrics = {
        "accuracy": float(found.right.mean()),
        "baseline_accuracy": float(count.max() / len(labels)),
        "log_loss": float(found.loss.mean()),
        "macro_f1": macro_f1(labels, found.predicted, found.classes),
        "baseline_macro_f1": macro_f1(labels, most, found.classes),
        "calibration_error": calibration.expected_error(calibration.of_classifier(found.chances, found.right)),
    }
    claimed, there = (np.eye(found.classes)[values] for values in (found.predicted, labels))
    counts = (np.column_stack([drawn.sums(line) for line in of.T]) for of in (claimed * there, claimed, there))
    intervals = {
        "accuracy": drawn.mean(found.right),
        "log_loss": drawn.mean(found.loss),
        "macro_f1": between(_mean_f1(*counts)),
    }
    return Score(rows=len(labels), metrics=metrics, by_group=_by_group(drawn, found.right), intervals=intervals)


def macro_f1(labels: Integers, predicted: Integers, classes: int) -> float:
    """The mean over classes of the harmonic mean of precision and recall; a class that never occurs is left out."""
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    claimed, there = (np.bincount(values, minlength=classes) for values in (predicted, labels))
    return float(_mean_f1(hits[None, :], claimed[None, :], there[None, :])[0])


def _mean_f1(hits: Doubles | Integers, claimed: Doubles | Integers, there: Doubles | Integers) -> Doubles:
    """From [sets of rows, classes] counts to [sets of rows]."""
    size = (claimed + there).astype(np.float64)
    values = np.divide(2 * hits, size, out=np.zeros_like(size), where=size > 0)
    return np.asarray(values.sum(axis=1) / (size > 0).sum(axis=1))


def _by_group(drawn: Drawn, values: Doubles) -> tuple[GroupScore, ...]:
    means = drawn.by_group(values) / drawn.rows
    return tuple(
        GroupScore(group=str(name), rows=int(n), value=float(v))
        for name, n, v in zip(drawn.names, drawn.rows, means, strict=True)
    )
