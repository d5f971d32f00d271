"""Lineage from source tables to the registered version, as Airflow's OpenLineage provider extracts it."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from f1_training.core.plan import RunPlan
from f1_training.operators import DaskTrainingOperator, RegisterModelOperator, SnapshotOperator
from f1_training.operators.lineage import named
from tests.fakes.run_plan import BOOSTER, evaluation_result, held_out_snapshot, make_plan, settings, training_result
from tests.fakes.run_plan import training_snapshot as snapshot
from trainer.contract import Outcome
from trainer.contract.fields import encode

installed = importlib.util.find_spec("airflow.providers.openlineage") is not None
needs_provider = pytest.mark.skipif(not installed, reason="apache-airflow-providers-openlineage is not installed")


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("p.f1_staging.t", ("bigquery", "p.f1_staging.t")),
        ("gs://bucket/models/a.ubj", ("gs://bucket", "models/a.ubj")),
        ("file:///var/a%20b/model.ubj", ("file", "/var/a b/model.ubj")),
    ],
)
def test_names_are_openlineage_s(what: str, expected: tuple[str, str]) -> None:
    assert named(what) == expected


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    made = make_plan(settings(f"file://{tmp_path}"))
    folder = Path(made.artifacts_uri.removeprefix("file://"))
    folder.mkdir(parents=True, exist_ok=True)
    result = training_result(made)
    (folder / "booster.ubj").write_bytes(BOOSTER)
    (folder / "result.json").write_text(result.to_json())
    (folder / "metrics.json").write_text(evaluation_result(made, result, 557.0).to_json())
    return made


def snapshots(plan: RunPlan) -> dict[str, Any]:
    return {"training": encode(snapshot(plan)), "evaluation": encode(held_out_snapshot(plan))}


def extracted(operator: Any) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """What the provider would tell of a task that succeeded."""
    from airflow.providers.openlineage.extractors.manager import ExtractorManager
    from airflow.utils.state import TaskInstanceState

    made = ExtractorManager().extract_metadata(
        dagrun=SimpleNamespace(run_id="r"),
        task=operator,
        task_instance_state=TaskInstanceState.SUCCESS,
        task_instance=SimpleNamespace(),
    )
    read, written = ({(d.namespace, d.name) for d in some} for some in (made.inputs, made.outputs))
    return read, written


@needs_provider
def test_each_task_reads_what_the_one_before_wrote(plan: RunPlan) -> None:
    taking = SnapshotOperator(task_id="snapshot", plan=plan.to_xcom())
    sources, tables = extracted(taking)
    assert sources == {("bigquery", f"f1-project.f1_strategy.{s}") for s in ("train", "validation", "test")}

    training = DaskTrainingOperator(task_id="train", plan=plan.to_xcom(), snapshots=snapshots(plan))
    outcome = Outcome(job_id=plan.job_id, last_round=750, result_uri=f"{plan.artifacts_uri}/result.json")
    trained = training.result(plan, outcome, 1)
    trained_on, booster = extracted(training)
    assert trained_on < tables

    registering = RegisterModelOperator(
        task_id="register",
        plan=plan.to_xcom(),
        snapshots=snapshots(plan),
        trained=trained,
        evaluated={"evaluation_uri": f"{plan.artifacts_uri}/metrics.json"},
    )
    registered = registering.execute({})
    evaluated, version = extracted(registering)
    assert evaluated == booster | (tables - trained_on)
    assert version == {named(registered["model_uri"])}


@needs_provider
def test_a_task_that_wrote_nothing_says_so(plan: RunPlan) -> None:
    training = DaskTrainingOperator(task_id="train", plan=plan.to_xcom(), snapshots=snapshots(plan))
    assert extracted(training)[1] == set()
