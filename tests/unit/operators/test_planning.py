"""The plan task reads the Variable and refuses what is wrong before anything is started."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from airflow.utils.types import DagRunType

from f1_training.core.costs import Budget
from f1_training.core.plan import RunPlan
from f1_training.operators.planning import plan_models, told
from tests.fakes.run_plan import RUN, make_plan
from trainer.contract.fields import encode

VARIABLE = {
    "project": "f1-project",
    "image": "image:1",
    "uris": {"checkpoints": "gs://c", "artifacts": "gs://a", "models": "gs://m"},
}


def context(run_type: str = "manual", **params: Any) -> dict[str, Any]:
    run = SimpleNamespace(dag_id=RUN.dag_id, run_id=RUN.run_id, run_after=RUN.at, run_type=run_type)
    return {"dag_run": run, "params": {"model_type": "tire_degradation", **params}}


def test_the_variable_is_read_when_the_task_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_F1_TRAINING", json.dumps(VARIABLE))
    (plan,) = (RunPlan.from_xcom(value) for value in plan_models(context(num_workers=3)))
    assert (plan.num_workers, plan.settings.project, plan.run_id) == (3, "f1-project", RUN.run_id)


@pytest.mark.parametrize(
    ("run_type", "budget"),
    [
        (DagRunType.SCHEDULED, Budget.WEEKLY),
        (DagRunType.ASSET_TRIGGERED, Budget.WEEKLY),
        (DagRunType.MANUAL, Budget.AD_HOC),
        (DagRunType.BACKFILL_JOB, Budget.AD_HOC),
    ],
)
def test_what_started_the_run_says_which_line_of_the_budget_pays(
    monkeypatch: pytest.MonkeyPatch, run_type: str, budget: Budget
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_F1_TRAINING", json.dumps(VARIABLE))
    (plan,) = (RunPlan.from_xcom(value) for value in plan_models(context(run_type)))
    assert plan.budget is budget


def test_plans_are_plain_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_F1_TRAINING", json.dumps(VARIABLE))
    plans = plan_models(context())
    assert json.loads(json.dumps(plans)) == plans == encode(plans)


def test_a_missing_variable_is_told_with_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow.sdk.Variable.get", lambda *_args, **_kwargs: None)
    with pytest.raises(AirflowFailException, match=r"^ConfigInvalid: the Airflow Variable 'f1_training'.*gs://my-"):
        plan_models(context())


def test_a_wrong_param_fails_without_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_F1_TRAINING", json.dumps(VARIABLE))
    with pytest.raises(AirflowFailException, match=r"^ConfigInvalid: num_workers is 11; 1 to 10$"):
        plan_models(context(num_workers=11))


def test_the_log_says_what_is_trained() -> None:
    plan = make_plan()
    assert told(plan).endswith("2 workers of n1-standard-8, rows of 'train', 'validation' and 'test'")
    assert told(replace(plan, dry_run=True)) == f"{told(plan)} (dry run)"
