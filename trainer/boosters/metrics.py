"""Losses as sums over rows, so that what ranks measured apart adds up to the metric of all rows. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from trainer.contract import FailureReason, Metric, TrainingFailure

Doubles = npt.NDArray[np.float64]
#: Probabilities are kept this far from 0, so that one sure mistake does not make the log loss infinite.
SMALLEST = 1e-15
PORTION_ROWS = 65_536


def metric_value(metric: Metric, total: float, weight: float) -> float:
    """The metric of all rows, from the sums of their losses and weights over ranks.

    Raises:
        TrainingFailure: ``DataInvalid`` when it is not a finite number.
    """
    mean = total / weight if weight > 0 else math.nan
    if not math.isfinite(mean):
        message = (
            f"{metric.value} is not a number (sum of losses {total}, of weights {weight}): training diverged. "
            "Look for extreme targets, or lower params.learning_rate"
        )
        raise TrainingFailure(FailureReason.DATA_INVALID, message)
    return math.sqrt(mean) if metric is Metric.RMSE else mean


def loss_of_raw(metric: Metric, target: npt.ArrayLike, raw: npt.ArrayLike) -> tuple[float, float]:
    """(sum of losses, number of rows) of raw scores: values, log odds of class 1, or [rows, classes] log odds."""
    return _by_portions(_loss_of_raw, metric, target, raw)


def loss_of_predictions(metric: Metric, target: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[float, float]:
    """(sum of losses, number of rows) of predictions: values, probabilities of class 1, or [rows, classes] of them."""
    return _by_portions(_loss_of_predictions, metric, target, predicted)


def _by_portions(
    loss: Callable[[Metric, Doubles, Doubles], float], metric: Metric, target: npt.ArrayLike, values: npt.ArrayLike
) -> tuple[float, float]:
    # As doubles all at once, rows would take more memory here than to train on.
    truth, given = np.asarray(target), np.asarray(values)
    starts = range(0, len(truth), PORTION_ROWS)
    portions = (slice(start, start + PORTION_ROWS) for start in starts)
    sums = [loss(metric, truth[part].astype(np.float64), given[part].astype(np.float64)) for part in portions]
    return math.fsum(sums), float(len(truth))


def _loss_of_raw(metric: Metric, truth: Doubles, scores: Doubles) -> float:
    if metric is Metric.LOG_LOSS:
        losses = np.logaddexp(0.0, scores) - truth * scores
    elif metric is Metric.MULTI_LOG_LOSS:
        scores = scores.reshape(len(truth), -1)
        top = scores.max(axis=1)
        total = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
        losses = total - _of_own_class(scores, truth)
    else:
        losses = _errors(metric, truth, scores)
    return float(losses.sum())


def _loss_of_predictions(metric: Metric, truth: Doubles, values: Doubles) -> float:
    if metric is Metric.LOG_LOSS:
        losses = -np.log(np.maximum(np.where(truth > 0.5, values, 1.0 - values), SMALLEST))
    elif metric is Metric.MULTI_LOG_LOSS:
        losses = -np.log(np.maximum(_of_own_class(values, truth), SMALLEST))
    else:
        losses = _errors(metric, truth, values)
    return float(losses.sum())


def _errors(metric: Metric, truth: Doubles, values: Doubles) -> Doubles:
    errors = values - truth
    return np.abs(errors) if metric is Metric.MAE else np.square(errors)


def _of_own_class(values: Doubles, truth: Doubles) -> Doubles:
    own: Doubles = values[np.arange(len(truth)), truth.astype(np.int64)]
    return own
