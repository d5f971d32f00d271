"""Losses as sums, so that the chief can add up what ranks measured apart."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from trainer.contract import Metric

SMALLEST = 1e-15


def loss_sum(
    metric: Metric, target: npt.NDArray[np.floating], predicted: npt.NDArray[np.floating]
) -> tuple[float, float]:
    """(sum of the rows' losses, number of rows).

    Args:
        metric: what is measured.
        target: [rows]; class numbers for classifiers.
        predicted: [rows] values or probabilities of class 1, or [rows, classes] probabilities.
    """
    rows = len(target)
    if not rows:
        return 0.0, 0.0
    if metric is Metric.MULTI_LOG_LOSS:
        own = predicted.reshape(rows, -1)[np.arange(rows), target.astype(np.int64)]
        return float(-np.log(np.maximum(own.astype(np.float64), SMALLEST)).sum()), float(rows)
    error = predicted.astype(np.float64) - target
    if metric is Metric.MAE:
        return float(np.abs(error).sum()), float(rows)
    if metric is Metric.RMSE:
        return float(np.square(error).sum()), float(rows)
    own = np.where(target > 0.5, predicted, 1.0 - predicted.astype(np.float64))
    return float(-np.log(np.maximum(own, SMALLEST)).sum()), float(rows)


def metric_value(metric: Metric, total: float, weight: float) -> float:
    """The metric of all rows together, from sums over ranks; infinite without rows."""
    if weight <= 0:
        return math.inf
    mean = total / weight
    return math.sqrt(mean) if metric is Metric.RMSE else mean
