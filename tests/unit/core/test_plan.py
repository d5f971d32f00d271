"""Params become plans; what is wrong is refused by the Param's name before anything is started."""

import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from f1_training.core.plan import RunIdentity, RunPlan, job_id, model_version, plan_runs
from tests.fakes.run_plan import RUN, make_plan, settings
from trainer.contract import Catalogue, Device, Engine, FailureReason, Schedule, TrainingFailure, read_catalogue
from trainer.contract.spec import JOB_ID

ENTRY = read_catalogue().entries["tire_degradation"]


def test_defaults_are_the_catalogue_s() -> None:
    plan = plan_runs({"model_type": "tire_degradation"}, settings(), RUN, read_catalogue(), "0.1.0")[0]
    assert plan.num_workers == 4
    assert plan.device is Device.CPU
    assert (plan.train_split, plan.validation_split, plan.test_split) == ("train", "validation", "test")
    assert plan.entry == ENTRY


def test_params_are_applied_to_the_entry() -> None:
    plan = make_plan(engine="lightgbm", rounds=30, device="gpu", data_split="train_2024", test_split="test_wet")
    assert (plan.entry.engine, plan.entry.rounds, plan.device) == (Engine.LIGHTGBM, 30, Device.GPU)
    assert (plan.train_split, plan.test_split) == ("train_2024", "test_wet")


def test_a_plan_survives_the_way_through_xcom() -> None:
    plan = make_plan(settings(pod_environment={"A": "b"}, threads=2))
    assert RunPlan.from_xcom(plan.to_xcom()) == plan


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"num_workers": 0}, "num_workers is 0; 1 to 10"),
        ({"num_workers": 11}, "num_workers is 11; 1 to 10"),
        ({"num_workers": "x"}, "num_workers is 'x'; a whole number"),
        ({"num_workers": True}, "num_workers is True; a whole number"),
        ({"num_workers": 2.0}, "num_workers is 2.0; a whole number"),
        ({"model_type": "nope"}, "model_type: unknown model type 'nope'; the catalogue has: "),
        ({"model_type": None}, "model_type is None"),
        ({"engine": "catboost"}, "engine is 'catboost'; one of xgboost, lightgbm"),
        ({"engine": 3}, "engine is 3; expected text"),
        ({"device": "tpu"}, "device is 'tpu'; cpu or gpu"),
        ({"rounds": 0}, "rounds is 0; a whole number, 1 to 100000"),
        ({"rounds": "many"}, "rounds is 'many'"),
        ({"early_stopping_rounds": -1}, "early_stopping_rounds is -1; a whole number, 0 to 100000"),
        ({"data_split": "trian"}, "data_split is 'trian', which is unknown; 'train', or a table"),
        ({"data_split": "test"}, "data_split is 'test'"),
        ({"data_split": "train_`; DROP"}, "data_split is"),
        ({"test_split": "train"}, "test_split is 'train'"),
        ({"dry_run": "yes"}, "dry_run is 'yes'; true or false"),
        ({"colour": "red"}, "colour is no Param; they are model_type"),
    ],
)
def test_a_wrong_param_is_named_with_what_it_takes(params: dict[str, Any], named: str) -> None:
    with pytest.raises(TrainingFailure) as caught:
        make_plan(**params)
    assert named in str(caught.value)
    assert caught.value.reason is FailureReason.CONFIG_INVALID


def test_all_models_get_a_plan_each_and_no_more_workers_than_they_can_use() -> None:
    single = replace(ENTRY, model_type="brake_bias", max_workers=1)
    catalogue = Catalogue(entries={"tire_degradation": ENTRY, "brake_bias": single})
    plans = plan_runs({"model_type": "all", "num_workers": 3}, settings(), RUN, catalogue, "0.1.0")
    assert [(p.model_type, p.num_workers) for p in plans] == [("brake_bias", 1), ("tire_degradation", 3)]
    with pytest.raises(TrainingFailure, match="num_workers is 3; brake_bias takes 1 to 1"):
        plan_runs({"model_type": "brake_bias", "num_workers": 3}, settings(), RUN, catalogue, "0.1.0")


def linear(**params: Any) -> RunPlan:
    catalogue = Catalogue(entries={"brake_bias": read_catalogue().entry("brake_bias")})
    return plan_runs(params, settings(), RUN, catalogue, "0.1.0")[0]


def test_a_linear_model_takes_what_it_can_use_when_all_models_are_asked_for() -> None:
    plan = linear(model_type="all", num_workers=4, device="gpu", early_stopping_rounds=50)
    assert (plan.num_workers, plan.device, plan.entry.early_stopping_rounds) == (1, Device.CPU, 0)


def test_the_form_s_own_number_of_workers_is_no_wish() -> None:
    assert linear(model_type="brake_bias").num_workers == 1
    assert linear(model_type="brake_bias", num_workers=4).num_workers == 1


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"num_workers": 2}, "num_workers is 2; brake_bias takes 1 to 1"),
        ({"early_stopping_rounds": 50}, "early_stopping_rounds is 50; a linear model cannot be cut"),
        ({"device": "gpu"}, "device is 'cuda'; brake_bias is linear, and trained on cpu"),
    ],
)
def test_what_a_linear_model_cannot_do_is_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingFailure, match=said):
        linear(**{"model_type": "brake_bias", "num_workers": 1, **params})


def test_a_file_that_cannot_be_read_stops_only_a_run_that_names_its_model() -> None:
    broken = Catalogue(entries={"tire_degradation": ENTRY}, problems={"bad": "bad.toml: rounds: is missing"})
    for asked in ("all", "tire_degradation"):
        plans = plan_runs({"model_type": asked}, settings(), RUN, broken, "0.1.0")
        assert [plan.model_type for plan in plans] == ["tire_degradation"]
    with pytest.raises(TrainingFailure, match=r"model_type: 'bad' cannot be trained: bad\.toml: rounds: is missing"):
        plan_runs({"model_type": "bad"}, settings(), RUN, broken, "0.1.0")
    with pytest.raises(TrainingFailure, match=r"no model is trained weekly: bad\.toml: rounds: is missing"):
        plan_runs({"model_type": "all"}, settings(), RUN, replace(broken, entries={}), "0.1.0")


def test_a_model_that_is_trained_on_demand_is_trained_when_it_is_named() -> None:
    rare = replace(ENTRY, model_type="rare", schedule=Schedule.ON_DEMAND)
    catalogue = Catalogue(entries={"rare": rare, "tire_degradation": ENTRY})
    for asked, trained in (("all", ["tire_degradation"]), ("rare", ["rare"])):
        plans = plan_runs({"model_type": asked}, settings(), RUN, catalogue, "0.1.0")
        assert [plan.model_type for plan in plans] == trained


def test_a_model_with_few_shards_stops_no_run_for_all_models() -> None:
    few = replace(ENTRY, model_type="few", logical_shards=2)
    catalogue = Catalogue(entries={"few": few, "tire_degradation": ENTRY})
    plans = plan_runs({"model_type": "all"}, settings(), RUN, catalogue, "0.1.0")
    assert [plan.num_workers for plan in plans] == [2, 4]


def test_a_dry_run_is_small() -> None:
    plan = make_plan(dry_run=True, num_workers=10)
    assert (plan.entry.rounds, plan.num_workers, plan.entry.logical_shards) == (20, 2, 4)
    assert plan.entry.segment_rounds == 10
    assert make_plan(dry_run=True, rounds=5, num_workers=1).entry.rounds == 5


def test_more_workers_than_shards_are_refused() -> None:
    catalogue = Catalogue(entries={"tire_degradation": replace(ENTRY, logical_shards=2)})
    asked = {"model_type": "tire_degradation", "num_workers": 3}
    with pytest.raises(TrainingFailure, match="num_workers is 3; tire_degradation has 2 logical shards"):
        plan_runs(asked, settings(), RUN, catalogue, "0.1.0")


def test_the_job_id_belongs_to_run_and_model() -> None:
    mine = job_id("f1_training", "manual__1", "tire_degradation")
    assert re.fullmatch(r"tire-degradation-[0-9a-f]{8}", mine)
    assert mine == make_plan().job_id
    others = {job_id("f1_training", "manual__2", "tire_degradation"), job_id("other", "manual__1", "tire_degradation")}
    assert mine not in others
    assert len(others) == 2


@pytest.mark.parametrize("model_type", ["tire_degradation", "x" * 90, "3d_model", "_", "a__" + "b" * 40, "Ünïcode"])
def test_any_model_name_makes_a_valid_job_id(model_type: str) -> None:
    assert JOB_ID.fullmatch(job_id("dag", "run", model_type))
    assert len(job_id("dag", "run", model_type)) <= 40


def test_the_version_sorts_by_time_whatever_the_time_zone() -> None:
    at = datetime(2026, 11, 23, 23, 15, 30, tzinfo=timezone(timedelta(hours=1)))
    assert re.fullmatch(r"20261123-221530-[0-9a-f]{6}", model_version(RunIdentity(dag_id="d", run_id="r", at=at)))
    assert make_plan().model_version == model_version(RUN)


def test_where_things_are() -> None:
    plan = make_plan()
    name = plan.job_id.replace("-", "_")
    assert plan.training_table == f"f1-project.f1_staging.{name}"
    assert plan.evaluation_table == f"f1-project.f1_evaluation.{name}"
    assert plan.checkpoints_uri == f"gs://bucket/checkpoints/{plan.job_id}"
    assert plan.artifacts_uri == f"gs://bucket/artifacts/{plan.job_id}"
