"""The documents that the pods get follow from the plan."""

import pytest

from f1_training.core.specs import evaluation_spec, linear_rows, threads, training_spec
from tests.fakes.run_plan import held_out_snapshot, make_plan, settings, training_result, training_snapshot
from trainer.contract import ContractError, EvaluationSpec, SnapshotRef, TrainingRows, TrainingSpec


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


def test_the_linear_baseline_reads_some_shards_of_the_training_rows() -> None:
    plan = make_plan()
    training = training_snapshot(plan)
    spec = evaluation_spec(plan, held_out_snapshot(plan), training_result(plan), training=training)
    assert spec.linear == TrainingRows(table=plan.training_table, split="train", shards=tuple(range(40)), most=50_000)
    assert [curve.feature for curve in spec.curves] == ["tire_age_laps", "fuel_fraction"]
    assert spec.breakdowns == plan.entry.breakdown
    assert EvaluationSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("rows", "most", "shards"),
    [
        ((10, 10, 10, 10), 20, (0, 2)),
        ((10, 0, 10, 0, 10, 10), 20, (0, 4)),
        ((10, 10, 10, 10), 21, (0, 1, 2)),
        ((10, 10), 1000, (0, 1)),
        ((500, 500), 20, (0,)),
    ],
)
def test_shards_are_evenly_over_those_that_have_rows(rows: tuple[int, ...], most: int, shards: tuple[int, ...]) -> None:
    found = linear_rows(SnapshotRef(table="p.d.t", logical_shards=len(rows), rows={"train": rows}), "train", most)
    assert found is not None
    assert (found.shards, found.most) == (shards, most)


def test_without_training_rows_there_is_no_linear_baseline() -> None:
    assert linear_rows(SnapshotRef(table="p.d.t", logical_shards=2, rows={"train": (0, 0)}), "train") is None


def test_threads_are_the_worker_s_cpus_unless_configured() -> None:
    assert threads(make_plan()) == 6
    assert threads(make_plan(settings(threads=1))) == 1
