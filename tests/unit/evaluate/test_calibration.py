"""A calibrated model is on the diagonal, and one that exaggerates is seen to."""

import numpy as np
import pytest

from trainer.evaluate.calibration import expected_error, of_classifier, of_regression


def test_a_regression_that_exaggerates_has_a_slope_below_one() -> None:
    truth = np.random.default_rng(0).normal(size=1000)
    found = of_regression(2 * truth, truth)
    assert found.slope == pytest.approx(0.5)
    assert found.rows == (100,) * 10
    assert list(found.predicted) == sorted(found.predicted)
    assert np.array(found.actual) == pytest.approx(np.array(found.predicted) / 2)


def test_a_constant_prediction_has_no_slope_and_few_rows_few_bins() -> None:
    found = of_regression(np.ones(4), np.array([0.0, 1, 2, 3]))
    assert (found.slope, found.rows) == (0.0, (1, 1, 1, 1))


def test_a_classifier_by_hand() -> None:
    found = of_classifier(np.array([0.95, 0.95, 0.65, 1.0]), np.array([1.0, 0.0, 1.0, 1.0]))
    assert found.rows == (1, 3)
    assert found.predicted == pytest.approx((0.65, (0.95 + 0.95 + 1.0) / 3))
    assert found.actual == pytest.approx((1.0, 2 / 3))
    assert expected_error(found) == pytest.approx((0.35 + 3 * abs(2.9 / 3 - 2 / 3)) / 4)


def test_chances_that_come_true_have_no_error() -> None:
    generator = np.random.default_rng(1)
    chances = generator.uniform(0.5, 1, 100_000)
    right = (generator.random(100_000) < chances).astype(float)
    assert expected_error(of_classifier(chances, right)) < 0.01
    assert expected_error(of_classifier(np.ones(100_000), right)) == pytest.approx(0.25, abs=0.01)
