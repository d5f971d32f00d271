"""The linear baseline against scikit-learn's, which the training image does not have."""

from typing import Any

import numpy as np
import pytest

from trainer.contract import FailureReason, Objective, TrainingFailure
from trainer.evaluate.linear import fit

ROWS = 600


@pytest.fixture
def features() -> Any:
    """Columns of very different size, a constant one, and missing values in the last."""
    generator = np.random.default_rng(8)
    columns = generator.normal(size=(ROWS, 5)) * [1, 1000, 0.01, 1, 3] + [0, 90_000, 0, 0, -2]
    columns[:, 3] = 7.0
    columns[generator.random(ROWS) < 0.2, 4] = np.nan
    return columns.astype(np.float32)


def like_ours(model: Any, features: Any, target: Any) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), model).fit(
        features.astype(np.float64), target
    )


@pytest.mark.parametrize("objective", [Objective.ABSOLUTE_ERROR, Objective.SQUARED_ERROR])
def test_a_regression_is_ridge(features: Any, objective: Objective) -> None:
    from sklearn.linear_model import Ridge

    target = np.nan_to_num(features) @ [50, 0.1, 900, 0, 20] + np.random.default_rng(1).normal(0, 30, ROWS)
    expected = like_ours(Ridge(alpha=1.0), features, target).predict(features.astype(np.float64))
    assert fit(features, target, objective).predict(features) == pytest.approx(expected, abs=0.01)


def test_several_classes_are_multinomial_logistic_regression(features: Any) -> None:
    from sklearn.linear_model import LogisticRegression

    pull = np.random.default_rng(2).gumbel(size=(ROWS, 3)) + np.column_stack(
        [features[:, 0], 0 * features[:, 0], features[:, 2] * 150]
    )
    target = pull.argmax(axis=1).astype(float)
    expected = like_ours(LogisticRegression(C=1.0, tol=1e-10, max_iter=2000), features, target)
    got = fit(features, target, Objective.MULTICLASS, 3).predict(features)
    assert got.shape == (ROWS, 3)
    assert got == pytest.approx(expected.predict_proba(features.astype(np.float64)), abs=1e-4)


def test_two_classes_are_logistic_regression(features: Any) -> None:
    from sklearn.linear_model import LogisticRegression

    target = (features[:, 0] + np.random.default_rng(3).logistic(size=ROWS) > 0).astype(float)
    # Two columns of weights instead of one: the penalty is half of scikit-learn's.
    expected = like_ours(LogisticRegression(C=2.0, tol=1e-10, max_iter=2000), features, target)
    got = fit(features, target, Objective.BINARY_LOGISTIC).predict(features)
    assert got.shape == (ROWS,)
    assert got == pytest.approx(expected.predict_proba(features.astype(np.float64))[:, 1], abs=1e-4)


def test_a_class_that_no_training_row_has_is_unlikely(features: Any) -> None:
    target = (features[:, 0] > 0).astype(float)
    got = fit(features, target, Objective.MULTICLASS, 3).predict(features)
    assert got[:, 2].max() < 0.05
    assert got.sum(axis=1) == pytest.approx(1.0)


def test_a_column_that_is_always_missing_says_nothing() -> None:
    features = np.column_stack([np.arange(50.0), np.full(50, np.nan)]).astype(np.float32)
    fitted = fit(features, 3 * np.arange(50.0) + 1, Objective.SQUARED_ERROR)
    assert fitted.weights[1, 0] == 0
    other = features.copy()
    other[:, 1] = 1e6
    assert np.isfinite(fitted.predict(other)).all()


def test_rows_without_a_target_teach_nothing() -> None:
    features, target = np.arange(6.0, dtype=np.float32)[:, None], np.array([0.0, 1, 2, 3, np.nan, 5])
    known = np.isfinite(target)
    assert fit(features, target, Objective.SQUARED_ERROR).predict(features) == pytest.approx(
        fit(features[known], target[known], Objective.SQUARED_ERROR).predict(features)
    )


@pytest.mark.parametrize(("target", "words"), [([np.nan, np.nan], "no training row"), ([0.0, 3.0], "classes 0 to 2")])
def test_what_cannot_be_fitted_is_invalid_data(target: list[float], words: str) -> None:
    with pytest.raises(TrainingFailure, match=words) as caught:
        fit(np.ones((2, 1), np.float32), np.array(target), Objective.MULTICLASS, 3)
    assert caught.value.reason is FailureReason.DATA_INVALID
