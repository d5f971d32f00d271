"""Whether what is predicted is what happens: mean by mean for a regression, chance by share for a classifier."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainer.boosters.engine import Doubles
from trainer.contract import Calibration

BINS = 10


def of_regression(predictions: Doubles, target: Doubles) -> Calibration:
    """Mean prediction and mean target of each tenth of the rows, in order of the prediction."""
    parts = [part for part in np.array_split(np.argsort(predictions, kind="stable"), BINS) if len(part)]
    away = predictions - predictions.mean()
    spread = float(away @ away)
    return Calibration(
        rows=tuple(len(part) for part in parts),
        predicted=tuple(float(predictions[part].mean()) for part in parts),
        actual=tuple(float(target[part].mean()) for part in parts),
        slope=float(away @ target) / spread if spread else 0.0,
    )


def of_classifier(chances: Doubles, right: Doubles) -> Calibration:
    """From the probability [rows] of the class that was named, and 1 where it was right; empty bins are left out."""
    index = np.minimum((chances * BINS).astype(np.int64), BINS - 1)
    rows = np.bincount(index, minlength=BINS)
    there = np.flatnonzero(rows)
    return Calibration(
        rows=tuple(int(n) for n in rows[there]),
        predicted=_means(index, chances, rows, there),
        actual=_means(index, right, rows, there),
    )


def expected_error(found: Calibration) -> float:
    """The mean over rows of the distance between the predicted and the actual value of their bin."""
    rows, predicted, actual = (np.array(line, dtype=np.float64) for line in (found.rows, found.predicted, found.actual))
    return float(np.abs(predicted - actual) @ rows / rows.sum())


def _means(
    index: npt.NDArray[np.int64], values: Doubles, rows: npt.NDArray[np.int64], there: npt.NDArray[np.int64]
) -> tuple[float, ...]:
    sums = np.bincount(index, weights=values, minlength=BINS)
    return tuple(float(v) for v in sums[there] / rows[there])
