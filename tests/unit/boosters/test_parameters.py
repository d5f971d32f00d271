"""Parameters that are refused before any row is read, by name and with the fix."""

from typing import Any

import pytest

from tests.fakes.snapshots import PARAMS, made_up_rows, spec_for
from trainer.boosters import engine_for
from trainer.contract import Device, Engine, FailureReason, Objective, TrainingFailure, read_catalogue

ROWS = made_up_rows(rows=60)


def refusal(engine: Engine, **params: Any) -> str:
    with pytest.raises(TrainingFailure) as caught:
        engine_for(engine).check_params(spec_for(ROWS, engine, params=params))
    assert caught.value.reason is FailureReason.CONFIG_INVALID
    return str(caught.value)


@pytest.mark.parametrize("engine", Engine)
@pytest.mark.parametrize("objective", Objective)
def test_ordinary_parameters_pass(engine: Engine, objective: Objective) -> None:
    rows = made_up_rows(rows=60, objective=objective)
    engine_for(engine).check_params(spec_for(rows, engine, objective=objective, params=PARAMS[engine]))


@pytest.mark.parametrize("engine", Engine)
def test_the_catalogue_passes(engine: Engine) -> None:
    entries = read_catalogue().entries
    assert entries
    for entry in entries.values():
        rows = made_up_rows(rows=60, objective=entry.objective)
        spec = spec_for(
            rows, engine, objective=entry.objective, params=entry.engine_params(engine), features=entry.features
        )
        engine_for(engine).check_params(spec)


@pytest.mark.parametrize(
    ("engine", "name", "fix"),
    [
        (Engine.XGBOOST, "nthread", "threads"),
        (Engine.XGBOOST, "seed", "seed"),
        (Engine.XGBOOST, "objective", "objective"),
        (Engine.XGBOOST, "device", "device"),
        (Engine.XGBOOST, "base_score", "same score"),
        (Engine.XGBOOST, "process_type", "new trees"),
        (Engine.LIGHTGBM, "num_threads", "threads"),
        (Engine.LIGHTGBM, "bagging_seed", "seed"),
        (Engine.LIGHTGBM, "machines", "num_workers"),
        (Engine.LIGHTGBM, "num_iterations", "rounds"),
        (Engine.LIGHTGBM, "boost_from_average", "same score"),
        (Engine.LIGHTGBM, "linear_tree", "appended"),
    ],
)
def test_what_the_system_owns_is_refused_with_what_to_do_instead(engine: Engine, name: str, fix: str) -> None:
    message = refusal(engine, **{name: 1})
    assert message.startswith(f"params.{name}: is set by the system")
    assert fix in message


def test_an_alias_does_not_get_around_that() -> None:
    assert refusal(Engine.LIGHTGBM, n_jobs=4).startswith("params.n_jobs: is set by the system")
    assert refusal(Engine.XGBOOST, n_jobs=4).startswith("params.n_jobs: is set by the system")


def test_two_names_of_one_parameter_are_refused() -> None:
    for engine in Engine:
        message = refusal(engine, eta=0.1, learning_rate=0.2)
        assert message == "params.learning_rate: is the same as params.eta; keep one of them"


@pytest.mark.parametrize("engine", Engine)
def test_a_misspelt_parameter_is_refused(engine: Engine) -> None:
    message = refusal(engine, learning_rat=0.1)
    assert message.startswith("params.learning_rat: ")
    assert "spelling" in message


@pytest.mark.parametrize(
    ("engine", "params"),
    [
        (Engine.XGBOOST, {"max_depth": "deep"}),
        (Engine.XGBOOST, {"subsample": 2.0}),
        (Engine.LIGHTGBM, {"num_leaves": "many"}),
        (Engine.LIGHTGBM, {"bagging_fraction": 2.0, "bagging_freq": 1}),
    ],
)
def test_a_value_that_the_library_refuses_is_named(engine: Engine, params: dict[str, Any]) -> None:
    assert refusal(engine, **params).startswith(f"params.{next(iter(params))}: ")


@pytest.mark.parametrize(
    ("engine", "name", "value"),
    [
        (Engine.XGBOOST, "booster", "dart"),
        (Engine.XGBOOST, "tree_method", "exact"),
        (Engine.LIGHTGBM, "boosting", "dart"),
        (Engine.LIGHTGBM, "boosting", "rf"),
    ],
)
def test_models_that_are_no_sum_of_trees_are_refused(engine: Engine, name: str, value: str) -> None:
    assert refusal(engine, **{name: value}).startswith(f"params.{name}: is {value!r}; only ")


@pytest.mark.parametrize(("engine", "device"), [(Engine.XGBOOST, Device.CUDA), (Engine.LIGHTGBM, Device.GPU)])
def test_a_device_that_is_not_there_is_refused(engine: Engine, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("No OpenCL device found")

    monkeypatch.setattr("xgboost.build_info", lambda: {"USE_CUDA": False})
    monkeypatch.setattr("lightgbm.train", fail)
    with pytest.raises(TrainingFailure, match=f"device: '{device.value}' cannot be used here") as caught:
        engine_for(engine).check_device(device)
    assert caught.value.reason is FailureReason.CONFIG_INVALID
    engine_for(engine).check_device(Device.CPU)
