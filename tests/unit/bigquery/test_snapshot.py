"""A snapshot is one query a source scan, into tables that training and evaluation do not share."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from f1_training.bigquery.client import Destination, Written
from f1_training.bigquery.snapshot import counted, evaluation_part, take, training_part
from f1_training.bigquery.sql import Query
from tests.fakes.run_plan import make_plan
from trainer.contract import ContractError, FailureReason, TrainingFailure


@dataclass
class FakeWarehouse:
    counts: list[dict[str, Any]]
    datasets: list[str] = field(default_factory=list)
    written: list[tuple[str, Destination, str]] = field(default_factory=list)

    def ensure_dataset(self, name: str) -> None:
        self.datasets.append(name)

    def write(self, query: Query, destination: Destination, job_id: str) -> Written:
        self.written.append((query.sql, destination, job_id))
        return Written(bytes_scanned=1234, created_at="2026-11-23T22:16:00+00:00")

    def rows(self, query: Query) -> list[dict[str, Any]]:
        assert self.written, "counted before it is written"
        return self.counts


def test_train_and_validation_rows_come_from_one_query() -> None:
    plan = make_plan(data_split="train_2024")
    part = training_part(plan)
    assert "`f1-project.f1_strategy.train_2024`" in part.query.sql
    assert "`f1-project.f1_strategy.validation`" in part.query.sql
    assert "f1_strategy.test" not in part.query.sql
    assert part.query.parameters == {
        "train_split": ("STRING", "train_2024"),
        "validation_split": ("STRING", "validation"),
        "logical_shards": ("INT64", 40),
    }


def test_test_rows_go_into_a_dataset_of_their_own() -> None:
    plan = make_plan()
    part = evaluation_part(plan)
    assert (part.dataset, part.table) == ("f1_evaluation", plan.evaluation_table)
    assert "`f1-project.f1_strategy.test`" in part.query.sql
    assert "train" not in part.query.sql.replace("training", "").replace("trainer", "")


@pytest.mark.parametrize("make", [training_part, evaluation_part])
def test_every_feature_is_a_number_under_its_own_name(make: Any) -> None:
    plan = make_plan()
    text = make(plan).query.sql
    for feature in plan.entry.features:
        assert f"CAST(`{feature}` AS FLOAT64) AS `{feature}`" in text
    assert "CAST(`lap_delta_ms` AS FLOAT64) AS target" in text
    assert "WHERE `lap_delta_eligible`" in text


def test_columns_to_break_the_error_down_by_are_text_and_in_the_evaluation_only() -> None:
    plan = make_plan()
    text = evaluation_part(plan).query.sql
    assert (
        "CAST(`circuit_id` AS STRING) AS `by_circuit`,\n        CAST(`compound` AS STRING) AS `by_compound`,\n        CAST(`season` AS STRING) AS `by_season`"
        in text
    )
    assert "CAST(`tire_age_laps` AS STRING) AS `by_stint_length`\nFROM" in text
    assert "by_" not in training_part(plan).query.sql
    without = replace(plan, entry=replace(plan.entry, breakdown=()))
    assert "AS `quali_gap_ms`\nFROM" in evaluation_part(without).query.sql


def test_a_snapshot_knows_its_rows_by_shard() -> None:
    plan = make_plan(dry_run=True)
    counts = [
        {"split": "train", "shard": 0, "row_count": 7, "checksum": -3},
        {"split": "train", "shard": 3, "row_count": 5, "checksum": 9},
        {"split": "validation", "shard": 1, "row_count": 2, "checksum": None},
    ]
    warehouse = FakeWarehouse(counts)
    snapshot = take(warehouse, plan, training_part(plan), attempt=2)
    assert snapshot.checksums == {"train": (-3, 0, 0, 9), "validation": (0, 0, 0, 0)}
    assert snapshot.rows == {"train": (7, 0, 0, 5), "validation": (0, 2, 0, 0)}
    assert (snapshot.table, snapshot.bytes_scanned) == (plan.training_table, 1234)
    ((_, destination, job_id),) = warehouse.written
    assert job_id == f"{plan.table_name}_training_2"
    assert (destination.logical_shards, destination.days) == (4, 7)
    assert destination.labels == {
        "f1-training-job": plan.job_id,
        "f1-training-model": "tire_degradation",
        "f1-training-budget": "ad-hoc",
    }
    assert warehouse.datasets == ["f1_staging"]


def test_an_empty_snapshot_has_no_rows_and_is_no_error_here() -> None:
    assert counted([], ["train"], 2, "t") == {"train": (0, 0)}


@pytest.mark.parametrize("shard", [None, 4, -1])
def test_rows_without_a_shard_are_invalid_data(shard: int | None) -> None:
    with pytest.raises(TrainingFailure, match="3 rows of split 'train' have no group") as caught:
        counted([{"split": "train", "shard": shard, "row_count": 3}], ["train"], 4, "t")
    assert caught.value.reason is FailureReason.DATA_INVALID


def test_a_feature_must_not_have_the_name_of_a_snapshot_s_own_column() -> None:
    plan = make_plan()
    plan = replace(plan, entry=replace(plan.entry, features=("shard", "stint")))
    with pytest.raises(ContractError, match="features: names shard, which are columns of every snapshot"):
        training_part(plan)
