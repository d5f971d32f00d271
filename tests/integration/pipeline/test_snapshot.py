"""Snapshots and checks against BigQuery's own protocol."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from airflow.sdk.exceptions import AirflowFailException

from f1_training.bigquery import sql
from f1_training.core.plan import RunPlan
from f1_training.operators import DataChecksOperator, SnapshotOperator
from f1_training.operators.attempts import KEY
from tests.fakes.run_plan import StateStore
from tests.integration.pipeline.conftest import deployed, plan_of
from trainer.contract import SnapshotRef
from trainer.contract.fields import decode
from trainer.data.shards import checksum

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def plan(warehouse: Any, tmp_path: Path) -> RunPlan:
    return plan_of(deployed(tmp_path), run_id=tmp_path.name)


def small(plan: RunPlan, min_rows: int = 10) -> RunPlan:
    return replace(plan, entry=replace(plan.entry, checks=replace(plan.entry.checks, min_rows=min_rows)))


def take(plan: RunPlan, store: StateStore | None = None) -> dict[str, Any]:
    operator = SnapshotOperator(task_id="snapshot", plan=plan.to_xcom())
    return operator.execute({"task_state_store": store or StateStore()})


def check(plan: RunPlan, taken: dict[str, Any]) -> dict[str, Any]:
    return DataChecksOperator(task_id="validate", plan=plan.to_xcom(), snapshots=taken).execute({})


def one(warehouse: Any, text: str) -> Any:
    ((value,),) = warehouse.query(text).result()
    return value


def jobs_of(warehouse: Any, plan: RunPlan) -> list[str]:
    return sorted(j.job_id for j in warehouse.list_jobs(max_results=200) if plan.table_name in j.job_id)


def test_every_eligible_row_is_in_the_snapshot_once(warehouse: Any, plan: RunPlan) -> None:
    taken = take(plan)
    training = decode(SnapshotRef, taken["training"], "")
    for split in ("train", "validation"):
        source = one(warehouse, f"SELECT COUNT(*) FROM f1_strategy.{split} WHERE lap_delta_eligible")
        assert training.total(split) == source > 0
    evaluation = decode(SnapshotRef, taken["evaluation"], "")
    assert evaluation.total("test") == one(warehouse, "SELECT COUNT(*) FROM f1_strategy.test WHERE lap_delta_eligible")
    assert one(warehouse, f"SELECT COUNT(DISTINCT row_key) FROM `{training.table}`") == sum(
        training.total(split) for split in ("train", "validation")
    )


def test_the_checksums_are_those_that_workers_compute(warehouse: Any, plan: RunPlan) -> None:
    training = decode(SnapshotRef, take(plan)["training"], "")
    text = f"SELECT split, shard, row_key, target FROM `{training.table}`"
    rows = warehouse.query(text).result().to_arrow(create_bqstorage_client=False)
    split, shard = np.array(rows["split"].to_pylist()), rows["shard"].to_numpy()
    key, target = rows["row_key"].to_numpy(), rows["target"].to_numpy()
    assert len(set(training.checksums["train"])) > 2
    for name in ("train", "validation"):
        for number, expected in enumerate(training.checksums[name]):
            mine = (split == name) & (shard == number)
            assert checksum(key[mine], target[mine]) == expected


@pytest.mark.parametrize(
    "target", ["CAST('nan' AS FLOAT64)", "CAST('inf' AS FLOAT64)", "1e300", "NULL", "-0.4", "7.9995"]
)
def test_a_target_that_is_no_number_has_a_checksum_too(warehouse: Any, target: str) -> None:
    text = sql.load("snapshot/counts.sql").replace("${snapshot_table}", "rows_here")
    given = f"SELECT 'train' AS split, 0 AS shard, 12345 AS row_key, CAST({target} AS FLOAT64) AS target"
    (row,) = warehouse.query(f"WITH rows_here AS ({given}) {text}").result()
    values = (
        warehouse.query(f"SELECT CAST({target} AS FLOAT64) AS target").result().to_arrow(create_bqstorage_client=False)
    )
    assert row["checksum"] == checksum(np.array([12345]), values["target"].cast(pa.float64()).to_numpy())


def test_training_cannot_see_a_test_row(warehouse: Any, plan: RunPlan) -> None:
    taken = take(plan)
    table = taken["training"]["table"]
    found = {row["split"] for row in warehouse.query(f"SELECT DISTINCT split FROM `{table}`").result()}
    assert found == {"train", "validation"}
    assert table.split(".")[1] != taken["evaluation"]["table"].split(".")[1]


def test_a_race_lies_in_one_shard_and_its_place_is_what_bigquery_says(warehouse: Any, plan: RunPlan) -> None:
    table = take(plan)["training"]["table"]
    text = f"SELECT COUNT(*) FROM (SELECT group_id FROM `{table}` GROUP BY group_id HAVING COUNT(DISTINCT shard) > 1)"
    assert one(warehouse, text) == 0
    shards = plan.entry.logical_shards
    wrong = f"SELECT COUNT(*) FROM `{table}` WHERE shard != ABS(MOD(FARM_FINGERPRINT(group_id), {shards}))"
    assert one(warehouse, wrong) == 0


def test_the_tables_expire_and_say_whose_they_are(warehouse: Any, plan: RunPlan) -> None:
    table = warehouse.get_table(take(plan)["training"]["table"])
    assert table.expires is not None
    assert table.labels["f1-training-job"] == plan.job_id
    assert {field.name: field.field_type for field in table.schema}["target"] in ("FLOAT", "FLOAT64")


def test_a_query_that_a_killed_process_left_is_adopted(warehouse: Any, plan: RunPlan) -> None:
    store = StateStore()
    first = take(plan, store)
    before = jobs_of(warehouse, plan)
    store.set(KEY, [{"number": 1, "state": "running"}])
    assert take(plan, store) == first
    assert jobs_of(warehouse, plan) == before


def test_a_cleared_task_takes_a_new_snapshot(warehouse: Any, plan: RunPlan) -> None:
    store = StateStore()
    take(plan, store)
    take(plan, store)
    assert [(a["number"], a["state"]) for a in store.values[KEY]][-1] == (2, "succeeded")


def test_a_split_that_is_not_there_is_named_and_the_next_try_has_other_job_ids(warehouse: Any, tmp_path: Path) -> None:
    plan = plan_of(deployed(tmp_path), run_id=tmp_path.name, data_split="train_1950")
    store = StateStore()
    with pytest.raises(AirflowFailException, match=r"^ConfigInvalid: .*train_1950"):
        take(plan, store)
    assert [(a["number"], a["state"]) for a in store.values[KEY]] == [(1, "failed")]


def test_a_feature_that_is_not_there_is_wrong_configuration(plan: RunPlan) -> None:
    wrong = replace(plan, entry=replace(plan.entry, features=("no_such_column",)))
    with pytest.raises(AirflowFailException, match=r"^ConfigInvalid: .*no_such_column"):
        take(wrong)


def test_good_rows_pass_every_check_and_the_report_is_kept(plan: RunPlan) -> None:
    plan = small(plan)
    report = check(plan, take(plan))
    assert report["passed"], report["failed"]
    assert len(report["checks"]) == 3 * (5 + len(plan.entry.features))
    assert Path(plan.artifacts_uri.removeprefix("file://"), "checks.json").exists()


def test_all_failing_checks_are_named_and_the_report_is_kept(warehouse: Any, plan: RunPlan) -> None:
    taken = take(plan)
    # ``stint`` is lost, and only one target is left.
    features = ", ".join(f for f in plan.entry.features if f != "stint")
    text = (
        f"SELECT split, group_id, row_key, IF(split = 'train', NULL, target) AS target, shard, {features}, "
        f"CAST(NULL AS FLOAT64) AS stint FROM `{taken['training']['table']}`"
    )
    from google.cloud import bigquery

    broken = f"local.f1_staging.{plan.table_name}_broken"
    config = bigquery.QueryJobConfig(destination=broken, write_disposition="WRITE_TRUNCATE")
    warehouse.query(text, job_config=config).result()
    taken["training"]["table"] = broken
    with pytest.raises(AirflowFailException, match="^DataInvalid: ") as caught:
        check(small(plan, 10_000_000), taken)
    for name in ("rows(train)", "target(train.lap_delta_ms)", "completeness(train.stint)", "(validation.stint)"):
        assert name in str(caught.value)
    assert Path(plan.artifacts_uri.removeprefix("file://"), "checks.json").exists()


def test_an_empty_snapshot_is_invalid_data(warehouse: Any, tmp_path: Path) -> None:
    warehouse.query(
        "CREATE OR REPLACE TABLE f1_strategy.train_none AS SELECT * FROM f1_strategy.train WHERE FALSE"
    ).result()
    plan = small(plan_of(deployed(tmp_path), run_id=tmp_path.name, data_split="train_none"))
    with pytest.raises(AirflowFailException, match=r"^DataInvalid: .*rows\(train_none\) is 0, expected 10"):
        check(plan, take(plan))


def test_a_limit_of_bytes_is_refused_by_name(warehouse: Any, tmp_path: Path) -> None:
    plan = plan_of(deployed(tmp_path, maximum_bytes_billed=1), run_id=tmp_path.name)
    with pytest.raises(AirflowFailException, match="^ConfigInvalid: .*maximum_bytes_billed"):
        take(plan)


def test_a_bigquery_that_does_not_answer_is_a_timeout(plan: RunPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.exceptions import AirflowException

    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setattr("f1_training.bigquery.client.REQUEST_RETRY_S", 0.5)
    with pytest.raises(AirflowException, match="^NetworkTimeout: .*does not answer"):
        take(plan)
