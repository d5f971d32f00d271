"""Scores, checked by hand on few rows and against known statistics on many."""

import numpy as np
import pytest

from trainer.contract import FailureReason, Objective, TrainingFailure
from trainer.evaluate.bootstrap import Drawn, paired
from trainer.evaluate.score import Scored, losses, score


def rows(target: list[float], predictions: object, groups: list[str]) -> Scored:
    return Scored(target=np.array(target), predictions=np.array(predictions, dtype=float), groups=groups)


def test_a_regression_by_hand() -> None:
    got = score(rows([1.0, 2.0, 4.0], [1.0, 4.0, 3.0], ["b", "a", "a"]), Objective.ABSOLUTE_ERROR, baseline=2.0)
    assert got.rows == 3
    assert got.metrics["test_mae"] == pytest.approx(1.0)
    assert got.metrics["baseline_mae"] == pytest.approx(1.0)
    assert got.metrics["rmse"] == pytest.approx((5 / 3) ** 0.5)
    mean = 7 / 3
    assert got.metrics["r2"] == pytest.approx(1 - 5 / sum((v - mean) ** 2 for v in (1, 2, 4)))
    assert [(g.group, g.rows, g.value) for g in got.by_group] == [("a", 2, 1.5), ("b", 1, 0.0)]


def test_a_target_that_never_varies_has_no_r2() -> None:
    got = score(rows([2.0, 2.0], [1.0, 2.0], ["a", "b"]), Objective.SQUARED_ERROR)
    assert "r2" not in got.metrics
    assert "r2" not in got.intervals


def test_a_binary_classifier_by_hand() -> None:
    got = score(rows([1, 0, 1, 1], [0.9, 0.2, 0.4, 0.8], ["r"] * 4), Objective.BINARY_LOGISTIC)
    assert got.metrics["accuracy"] == pytest.approx(0.75)
    assert got.metrics["baseline_accuracy"] == pytest.approx(0.75)
    assert got.metrics["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.8]).mean())
    # Class 0: precision 1/2, recall 1; class 1: precision 1, recall 2/3.
    assert got.metrics["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)
    # Class 1 is named always: precision 3/4, recall 1; class 0 never.
    assert got.metrics["baseline_macro_f1"] == pytest.approx((6 / 7 + 0) / 2)
    assert got.metrics["calibration_error"] == pytest.approx((0.1 + 2 * 0.2 + 0.6) / 4)


def test_a_sure_mistake_has_a_large_but_finite_loss() -> None:
    got = score(rows([1, 0], [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], ["a", "b"]), Objective.MULTICLASS)
    assert got.metrics["log_loss"] == pytest.approx(-np.log(1e-15) / 2)
    assert got.metrics["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_the_interval_holds_the_metric_and_is_the_same_every_time() -> None:
    generator = np.random.default_rng(0)
    target = generator.normal(size=400)
    scored = Scored(target=target, predictions=target * 0.5, groups=[f"race {i % 20}" for i in range(400)])
    first, again = (score(scored, Objective.SQUARED_ERROR, seed=3) for _ in range(2))
    assert first == again
    assert first.metrics["r2"] == pytest.approx(0.75, abs=0.01)
    for name in ("test_mae", "baseline_mae", "rmse", "r2"):
        assert first.intervals[name].low < first.metrics[name] < first.intervals[name].high


def test_f1_is_scikit_learn_s_and_its_interval_is_of_whole_races() -> None:
    from sklearn.metrics import f1_score

    generator = np.random.default_rng(5)
    labels = generator.integers(0, 4, 900)
    chances = generator.dirichlet(np.ones(4), 900) + 0.6 * np.eye(4)[labels]
    chances /= chances.sum(axis=1, keepdims=True)
    races = np.array([f"race {n}" for n in np.arange(900) % 15])
    got = score(Scored(target=labels.astype(float), predictions=chances, groups=races.tolist()), Objective.MULTICLASS)
    predicted = chances.argmax(axis=1)
    assert got.metrics["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    # The same by drawing rows of whole races again and again.
    places = [np.flatnonzero(races == name) for name in sorted(set(races))]
    drawn = []
    for _ in range(300):
        some = np.concatenate([places[n] for n in generator.integers(0, 15, 15)])
        drawn.append(f1_score(labels[some], predicted[some], average="macro"))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert got.intervals["macro_f1"].low == pytest.approx(low, abs=0.008)
    assert got.intervals["macro_f1"].high == pytest.approx(high, abs=0.008)


def test_equal_models_differ_by_nothing() -> None:
    errors = np.random.default_rng(2).gamma(2, size=200)
    difference, between = paired(errors, errors, [f"race {i % 10}" for i in range(200)])
    assert (difference, between.low, between.high) == (0.0, 0.0, 0.0)


def test_a_pair_is_compared_race_by_race() -> None:
    """Races differ far more than the models do; the difference is seen all the same."""
    generator = np.random.default_rng(3)
    races = np.repeat(np.arange(20), 50)
    hard = generator.normal(0, 300, 20)[races] + 600
    own, other = hard + generator.normal(0, 5, 1000), hard + 8 + generator.normal(0, 5, 1000)
    difference, between = paired(own, other, [f"race {n}" for n in races])
    assert difference == pytest.approx(-8, abs=1)
    assert between.low < difference < between.high < -6
    worse, around = paired(other, own, [f"race {n}" for n in races])
    assert worse == pytest.approx(-difference)
    assert around.low > 6


def test_classifiers_are_compared_by_their_log_loss() -> None:
    scored = rows([1, 0], [0.9, 0.2], ["a", "b"])
    name, values = losses(scored, Objective.BINARY_LOGISTIC)
    assert name == "log_loss"
    assert values == pytest.approx(-np.log([0.9, 0.8]))


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide() -> None:
    values = np.random.default_rng(1).normal(10, 2, size=100)
    got = Drawn([f"race {n}" for n in range(100)], draws=4000).mean(values)
    assert got.high - got.low == pytest.approx(2 * 1.96 * 2 / 10, rel=0.15)


def test_rows_of_a_group_are_drawn_together() -> None:
    # Two races that disagree: whatever their number of rows, the interval spans both.
    values = np.repeat([0.0, 1.0], 1000)
    got = Drawn(["a"] * 1000 + ["b"] * 1000).mean(values)
    assert (got.low, got.high) == (0.0, 1.0)


@pytest.mark.parametrize(("target", "predictions"), [([], []), ([float("nan")], [1.0]), ([1.0], [float("inf")])])
def test_what_cannot_be_scored_is_invalid_data(target: list[float], predictions: list[float]) -> None:
    with pytest.raises(TrainingFailure, match=r"not finite|nothing can be scored") as caught:
        rows(target, predictions, ["a"] * len(target))
    assert caught.value.reason is FailureReason.DATA_INVALID


@pytest.mark.parametrize("label", [3.0, -1.0, 0.5])
def test_a_class_that_the_model_does_not_know_is_invalid_data(label: float) -> None:
    with pytest.raises(TrainingFailure, match="none of the model's classes 0 to 2"):
        score(rows([label], [[0.2, 0.3, 0.5]], ["a"]), Objective.MULTICLASS)
