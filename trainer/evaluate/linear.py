"""The linear baseline: ridge regression, or multinomial logistic regression, fitted on rows the model was trained on.

A boosted model that is no better than this does not need its trees. Missing values become the column's median, columns
are standardised; both fits are penalised as scikit-learn's are by default, which the training image does not have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.boosters.engine import Doubles, Floats
from trainer.contract import FailureReason, Objective, TrainingFailure

PENALTY = 1.0
ITERATIONS = 500


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LinearModel:
    """``weights`` are [features, outputs] of standardised columns, ``intercept`` is [outputs]; one output is a
    regression, more are classes.
    """

    median: Doubles
    mean: Doubles
    scale: Doubles
    weights: Doubles
    intercept: Doubles
    binary: bool = False

    def predict(self, features: Floats) -> Doubles:
        """From [rows, features] to values, to probabilities of class 1, or to [rows, classes] probabilities."""
        filled = np.where(np.isfinite(features), features, self.median)
        found = (filled - self.mean) / self.scale @ self.weights + self.intercept
        if found.shape[1] == 1:
            return np.asarray(found[:, 0])
        chances = np.exp(_log_softmax(found))
        return np.asarray(chances[:, 1] if self.binary else chances)


def fit(features: Floats, target: Doubles, objective: Objective, classes: int = 0) -> LinearModel:
    """Fit a linear model for ``objective`` on [rows, features], NaN where a value is missing.

    Raises:
        TrainingFailure: ``DataInvalid`` when there are no rows with a target, or classes that the model does not know.
    """
    known = np.isfinite(target)
    if not known.any():
        raise TrainingFailure(FailureReason.DATA_INVALID, "no training row has a target: no linear model can be fitted")
    values, target = features[known].astype(np.float64), target[known]
    median = np.array([np.median(line[np.isfinite(line)]) if np.isfinite(line).any() else 0.0 for line in values.T])
    values = np.where(np.isfinite(values), values, median)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    scale[scale <= 1e-9 * np.maximum(np.abs(mean), 1.0)] = 1.0
    values = (values - mean) / scale
    if objective is Objective.BINARY_LOGISTIC:
        weights, intercept = _logistic(values, _labels(target, 2), 2)
    elif objective is Objective.MULTICLASS:
        weights, intercept = _logistic(values, _labels(target, classes), classes)
    else:
        weights, intercept = _ridge(values, target)
    binary = objective is Objective.BINARY_LOGISTIC
    return LinearModel(median=median, mean=mean, scale=scale, weights=weights, intercept=intercept, binary=binary)


def _ridge(values: Doubles, target: Doubles) -> tuple[Doubles, Doubles]:
    """The normal equations; columns are centred, so the intercept is the target's mean and is not penalised."""
    square = values.T @ values + PENALTY * np.eye(values.shape[1])
    middle = target.mean()
    return np.linalg.solve(square, values.T @ (target - middle))[:, None], np.array([middle])


def _logistic(values: Doubles, labels: npt.NDArray[np.int64], classes: int) -> tuple[Doubles, Doubles]:
    """The log loss and half the squared weights, which the intercepts are no part of, by L-BFGS."""
    from scipy.optimize import minimize

    rows, width = values.shape
    wanted = np.eye(classes)[labels]

    def loss(flat: Doubles) -> tuple[float, Doubles]:
        weights, intercept = flat[: width * classes].reshape(width, classes), flat[width * classes :]
        logs = _log_softmax(values @ weights + intercept)
        value = -np.sum(logs * wanted) + PENALTY / 2 * np.sum(weights**2)
        slope = np.exp(logs) - wanted
        return value / rows, np.concatenate([(values.T @ slope + PENALTY * weights).ravel(), slope.sum(axis=0)]) / rows

    options = {"maxiter": ITERATIONS, "ftol": 1e-12, "gtol": 1e-7}
    flat = minimize(loss, np.zeros((width + 1) * classes), jac=True, method="L-BFGS-B", options=options).x
    return flat[: width * classes].reshape(width, classes), flat[width * classes :]


def _log_softmax(logits: Doubles) -> Doubles:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _labels(target: Doubles, classes: int) -> npt.NDArray[np.int64]:
    labels = target.astype(np.int64)
    if not np.array_equal(labels, target) or labels.min() < 0 or labels.max() >= classes:
        message = f"the training rows' target has values that are none of the classes 0 to {classes - 1}"
        raise TrainingFailure(FailureReason.DATA_INVALID, message)
    return labels
