"""Metrics from sums of losses, checked by hand."""

import math

import numpy as np
import pytest

from trainer.boosters.metrics import loss_of_predictions, loss_of_raw, metric_value
from trainer.contract import FailureReason, Metric, TrainingFailure


@pytest.mark.parametrize(("metric", "expected"), [(Metric.MAE, 1.5), (Metric.RMSE, math.sqrt(2.5))])
def test_regression_by_hand(metric: Metric, expected: float) -> None:
    for loss in (loss_of_raw, loss_of_predictions):
        assert metric_value(metric, *loss(metric, [1.0, 5.0], [2.0, 3.0])) == pytest.approx(expected)


def test_log_loss_by_hand() -> None:
    raw, target = np.array([0.0, math.log(3)]), np.array([1.0, 0.0])
    expected = (-math.log(0.5) - math.log(0.25)) / 2
    assert metric_value(Metric.LOG_LOSS, *loss_of_raw(Metric.LOG_LOSS, target, raw)) == pytest.approx(expected)
    predicted = 1 / (1 + np.exp(-raw))
    found = loss_of_predictions(Metric.LOG_LOSS, target, predicted)
    assert metric_value(Metric.LOG_LOSS, *found) == pytest.approx(expected)


def test_multi_log_loss_by_hand() -> None:
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])
    expected = (-math.log(0.25) - math.log(0.7)) / 2
    metric, target = Metric.MULTI_LOG_LOSS, [1, 2]
    assert metric_value(metric, *loss_of_predictions(metric, target, probabilities)) == pytest.approx(expected)
    shifted = np.log(probabilities) + 7.0
    assert metric_value(metric, *loss_of_raw(metric, target, shifted)) == pytest.approx(expected)


def test_a_sure_mistake_costs_much_but_not_infinitely_much() -> None:
    assert loss_of_raw(Metric.LOG_LOSS, [0.0], [900.0]) == (900.0, 1.0)
    assert loss_of_predictions(Metric.LOG_LOSS, [0.0], [1.0])[0] == pytest.approx(-math.log(1e-15))


@pytest.mark.parametrize("metric", Metric)
def test_no_rows_are_no_loss(metric: Metric) -> None:
    empty = np.zeros((0, 3)) if metric is Metric.MULTI_LOG_LOSS else np.zeros(0)
    assert loss_of_raw(metric, [], empty) == (0.0, 0.0)
    assert loss_of_predictions(metric, [], empty) == (0.0, 0.0)


def test_sums_of_parts_are_the_sum_of_all() -> None:
    generator = np.random.default_rng(0)
    target, raw = generator.integers(0, 2, 100).astype(float), generator.normal(size=100)
    parts = [loss_of_raw(Metric.LOG_LOSS, target[part], raw[part]) for part in (slice(0, 30), slice(30, 100))]
    assert np.sum(parts, axis=0) == pytest.approx(loss_of_raw(Metric.LOG_LOSS, target, raw))


@pytest.mark.parametrize(("total", "weight"), [(math.nan, 1.0), (math.inf, 1.0), (0.0, 0.0)])
def test_a_metric_that_is_no_number_ends_the_job(total: float, weight: float) -> None:
    with pytest.raises(TrainingFailure, match="rmse is not a number") as caught:
        metric_value(Metric.RMSE, total, weight)
    assert caught.value.reason is FailureReason.DATA_INVALID
