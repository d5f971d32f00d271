"""The documents that the pods get follow from the plan."""

import pytest

from f1_training.core.specs import evaluation_spec, threads, training_spec
from tests.fakes.run_plan import held_out_snapshot, make_plan, settings, training_result, training_snapshot
from trainer.contract import ContractError, SnapshotRef, TrainingSpec


def test_the_training_spec_is_the_plan_s() -> None:
    plan = make_plan(num_workers=3, rounds=30)
    spec = training_spec(plan, training_snapshot(plan), attempt=1)
    assert (spec.job_id, spec.num_workers, spec.rounds) == (plan.job_id, 3, 30)
    assert spec.params == plan.entry.params["xgboost"]
    assert spec.output.checkpoints == plan.checkpoints_uri
    assert TrainingSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(("attempt", "resume"), [(1, False), (2, True), (7, True)])
def test_only_the_first_attempt_demands_an_empty_folder(attempt: int, resume: bool) -> None:
    plan = make_plan()
    assert training_spec(plan, training_snapshot(plan), attempt).resume is resume


def test_a_snapshot_without_training_rows_is_refused() -> None:
    plan = make_plan()
    nothing = (0,) * plan.entry.logical_shards
    empty = SnapshotRef(table=plan.training_table, logical_shards=len(nothing), rows={"train": nothing})
    with pytest.raises(ContractError, match="train_split"):
        training_spec(plan, empty, 1)


def test_the_evaluation_sees_the_test_table_only() -> None:
    plan = make_plan()
    spec = evaluation_spec(plan, held_out_snapshot(plan), training_result(plan))
    assert (spec.table, spec.split) == (plan.evaluation_table, "test")
    assert (spec.baseline, spec.unit) == (0.0, "ms")
    assert spec.output == f"{plan.artifacts_uri}/metrics.json"


def test_threads_are_the_worker_s_cpus_unless_configured() -> None:
    assert threads(make_plan()) == 6
    assert threads(make_plan(settings(threads=1))) == 1
