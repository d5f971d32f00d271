"""What a report shows: curves, effects and the grid, on models whose answers are known."""

from typing import Any

import numpy as np
import pytest

from trainer.boosters import engine_for
from trainer.contract import CurveSpec, Engine, Objective
from trainer.evaluate.curves import points, spread
from trainer.evaluate.details import GRID_CELLS, details, grid
from trainer.evaluate.score import Scored

NAMES = ("age", "soft", "hard", "other")
CURVE = CurveSpec(feature="age", low=1, high=21, groups={"SOFT": "soft", "HARD": "hard", "WET": "other"}, rises=True)
RNG = np.random.default_rng(4)
ROWS = 1200
AGE, SOFT = RNG.uniform(0, 25, ROWS), np.arange(ROWS) % 2
FEATURES = np.column_stack((AGE, SOFT, 1 - SOFT, np.zeros(ROWS))).astype(np.float32)
RACES = [f"race {n % 12}" for n in range(ROWS)]


class Known:
    """30 ms a lap of age on soft tyres, 10 on hard ones, whatever the model's bytes."""

    def predictor(self, document: bytes, threads: int = 1) -> Any:
        return lambda x: (x[:, 0] * (30 * x[:, 1] + 10 * x[:, 2])).astype(float)

    def contributions(self, document: bytes, features: Any, threads: int = 1) -> Any:
        return np.tile([-4.0, 2.0, 1.0, 0.0], (len(features), 1))


def found(objective: Objective = Objective.ABSOLUTE_ERROR, curves: tuple[CurveSpec, ...] = (CURVE,)) -> Any:
    predictions = Known().predictor(b"")(FEATURES)
    scored = Scored(target=predictions + RNG.normal(0, 5, ROWS), predictions=predictions, groups=RACES)
    engine: Any = Known()
    return details(engine, b"", scored, FEATURES, NAMES, objective=objective, wanted=curves)


def test_a_curve_is_the_rise_of_its_own_rows() -> None:
    soft, hard = found().curves
    assert (soft.name, hard.name, soft.rows, hard.rows) == ("SOFT", "HARD", 600, 600)
    assert (soft.at[0], soft.at[-1], soft.mean[0]) == (1, 21, 0)
    assert soft.mean[-1] == pytest.approx(600)
    assert (soft.slope, hard.slope) == (pytest.approx(30), pytest.approx(10))
    assert soft.slope_interval.low <= soft.slope + 1e-6
    assert soft.slope_interval.high >= soft.slope - 1e-6


def test_a_group_without_rows_has_no_curve_and_a_classifier_none_at_all() -> None:
    assert "WET" not in [curve.name for curve in found().curves]
    assert found(curves=()).curves == ()
    chances = np.tile([0.7, 0.2, 0.1], (ROWS, 1))
    scored = Scored(target=np.arange(ROWS) % 3.0, predictions=chances, groups=RACES)
    engine: Any = Known()
    got = details(engine, b"", scored, FEATURES, NAMES, objective=Objective.MULTICLASS, wanted=(CURVE,))
    assert (got.curves, got.grid) == ((), None)
    assert got.confusion == ((400, 0, 0), (400, 0, 0), (400, 0, 0))
    assert got.calibration is not None
    assert (got.calibration.rows, got.calibration.actual) == ((1200,), pytest.approx((1 / 3,)))


def test_each_curve_says_what_it_is_over_and_a_share_is_no_whole_number() -> None:
    share = CurveSpec(feature="other", low=0, high=1, unit="share", rises=False)
    got = found(curves=(CURVE, share)).curves
    assert [(c.name, c.feature, c.rises) for c in got] == [
        ("SOFT", "age", True), ("HARD", "age", True), ("all", "other", False),
    ]  # fmt: skip
    assert (got[2].at[0], got[2].at[-1], len(got[2].at)) == (0.0, 1.0, 15)
    assert got[2].slope == 0
    assert points(1, 35)[1] == 3
    assert points(0, 5)[1] == pytest.approx(5 / 14)


def test_effects_are_mean_sizes() -> None:
    assert found().effects == {"age": 4.0, "soft": 2.0, "hard": 1.0, "other": 0.0}


def test_the_grid_has_every_row_once_and_a_good_model_on_the_diagonal() -> None:
    counts = np.array(found().grid.counts)
    assert counts.shape == (GRID_CELLS, GRID_CELLS)
    assert counts.sum() == ROWS
    assert np.trace(counts) > 0.7 * ROWS
    assert found().calibration.slope == pytest.approx(1, abs=0.01)
    assert sum(np.array(grid(np.ones(5), np.ones(5)).counts).ravel()) == 5


def test_rows_are_spread_evenly() -> None:
    assert spread(10, 100).tolist() == list(range(10))
    assert spread(1001, 3).tolist() == [0, 500, 1000]


@pytest.mark.parametrize("engine", list(Engine))
@pytest.mark.parametrize("classes", [0, 3])
def test_contributions_are_the_library_s_and_name_the_right_feature(engine: Engine, classes: int) -> None:
    target = FEATURES[:, 0] if not classes else np.digitize(FEATURES[:, 0], [8, 16])
    params: dict[str, Any]
    if engine is Engine.XGBOOST:
        import xgboost

        params = {"max_depth": 3, "nthread": 1}
        params |= {"objective": "multi:softprob", "num_class": classes} if classes else {}
        document = bytes(xgboost.train(params, xgboost.DMatrix(FEATURES, target), 12).save_raw("ubj"))
    else:
        import lightgbm

        params = {"num_leaves": 7, "num_threads": 1, "verbosity": -1}
        params |= {"objective": "multiclass", "num_class": classes} if classes else {}
        document = lightgbm.train(params, lightgbm.Dataset(FEATURES, target), 12).model_to_string().encode()
    got = engine_for(engine).contributions(document, FEATURES[:50])
    assert got.shape == (50, 4)
    sizes = np.abs(got).mean(axis=0)
    assert (sizes.argmax(), sizes[3]) == (0, 0)
    if not classes:
        base = engine_for(engine).predict(document, FEATURES[:50]) - got.sum(axis=1)
        assert np.allclose(base, base[0], atol=1e-3)
