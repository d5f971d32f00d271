"""Shards on disk: read once, in order, whole or not at all, and checked."""

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.fakes.snapshots import FEATURES, TABLE, FakeStorageRead, made_up_rows, snapshot_of
from trainer.contract import FailureReason, Objective, TrainingFailure
from trainer.data import Rows, ShardReader, TableReader, no_rows, shards
from trainer.data.rows import matrix

ROWS = made_up_rows(rows=800)
Make = Callable[..., ShardReader]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(table: pa.Table = ROWS, **changes: Any) -> ShardReader:
        fake = changes.pop("fake", None) or FakeStorageRead(table)
        values = {"snapshot": snapshot_of(ROWS), "features": FEATURES, "target": "target", "folder": tmp_path}
        return ShardReader(reader=TableReader(table=TABLE, client=fake), **{**values, **changes})

    return made


def with_column(name: str, values: Any) -> pa.Table:
    return ROWS.set_column(ROWS.column_names.index(name), name, values)


def expected(split: str, wanted: list[int]) -> list[dict[str, Any]]:
    some = [r for r in ROWS.to_pylist() if r["split"] == split and r["shard"] in wanted]
    return sorted(some, key=lambda r: (r["shard"], r["row_key"]))


def refusal(reader: ShardReader, reason: FailureReason = FailureReason.DATA_INVALID) -> str:
    with pytest.raises(TrainingFailure) as caught:
        reader.rows("train", range(6))
    assert caught.value.reason is reason
    return str(caught.value)


def test_rows_come_in_the_order_of_shards_and_keys(make: Make) -> None:
    rows = make().rows("train", [4, 1])
    wanted = expected("train", [1, 4])
    assert len(rows) == len(wanted)
    assert rows.target.tolist() == [r["target"] for r in wanted]
    assert rows.names == FEATURES
    values = np.concatenate(list(rows.batches(37)))
    nan = float("nan")
    by_hand = np.array([[nan if r[f] is None else r[f] for f in FEATURES] for r in wanted], np.float32)
    assert np.array_equal(values, by_hand, equal_nan=True)
    assert values.dtype == np.float32
    assert rows.arrow_bytes == len(wanted) * (4 * len(FEATURES) + 8)


def test_only_missing_shards_are_read_again(make: Make) -> None:
    fake = FakeStorageRead(ROWS)
    first = make(fake=fake).rows("train", [1, 2])
    make(fake=fake).rows("train", [1, 2, 3])
    make(fake=fake).rows("train", [3, 2])
    assert fake.restrictions == ["split = 'train' AND shard IN (1, 2)", "split = 'train' AND shard IN (3)"]
    again = make(fake=fake).rows("train", [2, 1])
    assert np.array_equal(matrix(again.features), matrix(first.features), equal_nan=True)


def test_another_table_or_other_columns_are_other_files(make: Make) -> None:
    fake = FakeStorageRead(ROWS)
    make(fake=fake).rows("train", [1])
    make(fake=fake, features=FEATURES[:3]).rows("train", [1])
    make(fake=fake, snapshot=snapshot_of(ROWS, name="p.d.other")).rows("train", [1])
    assert len(fake.restrictions) == 3


def test_a_broken_file_is_read_again(make: Make) -> None:
    reader = make()
    before = reader.rows("train", [2]).target.tolist()
    data = reader.path("train", 2).read_bytes()
    for broken in (b"", b"nonsense", data[: len(data) // 2]):
        reader.path("train", 2).write_bytes(broken)
        assert reader.rows("train", [2]).target.tolist() == before


def test_many_shards_are_read_a_portion_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "CELLS_AT_ONCE", 250 * len(FEATURES))
    fake = FakeStorageRead(ROWS)
    rows = make(fake=fake).rows("train", range(6))
    assert len(fake.restrictions) > 2
    assert len(rows) == len(expected("train", list(range(6))))


@pytest.mark.parametrize("change", [lambda x: x + 0.002, lambda x: np.where(np.arange(len(x)) == 7, 1e6, x)])
def test_other_targets_than_the_snapshot_had_are_refused(make: Make, change: Callable[[Any], Any]) -> None:
    other = with_column("target", pa.array(change(ROWS["target"].to_numpy())))
    message = refusal(make(other))
    assert "holds other rows or targets than the snapshot did" in message


def test_a_snapshot_without_checksums_is_taken_as_it_is(make: Make) -> None:
    nobody = replace(snapshot_of(ROWS), checksums={})
    assert len(make(with_column("target", pa.array(np.ones(ROWS.num_rows))), snapshot=nobody).rows("train", [1]))


def test_another_number_of_rows_than_counted_is_refused(make: Make, tmp_path: Path) -> None:
    missing = next(i for i, r in enumerate(ROWS.to_pylist()) if r["split"] == "train" and r["shard"] == 3)
    table = pa.concat_tables([ROWS.slice(0, missing), ROWS.slice(missing + 1)])
    count = snapshot_of(ROWS).rows["train"][3]
    message = refusal(make(table))
    assert message == f"{TABLE}: shard 3 of split 'train' has {count - 1} rows, the snapshot counted {count}"
    assert not list(tmp_path.rglob("train-0003.arrow"))


def test_a_shard_without_rows_has_none(make: Make) -> None:
    table = ROWS.filter(pc.not_equal(ROWS["shard"], 5))
    fake = FakeStorageRead(table)
    for _ in range(2):
        rows = make(fake=fake, snapshot=snapshot_of(table)).rows("train", [5])
        assert len(rows) == 0
        assert [batch.shape for batch in rows.batches()] == [(0, len(FEATURES))]
    # Looked for once: a row that should not be there would have been found.
    assert len(fake.restrictions) == 1
    assert len(make().rows("train", [])) == 0


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")])
def test_a_target_that_is_no_number_is_refused(make: Make, bad: float | None) -> None:
    at = ROWS["split"].to_pylist().index("train")
    values = ROWS["target"].to_pylist()
    values[at] = bad
    table = with_column("target", pa.array(values, pa.float64()))
    message = refusal(make(table, snapshot=snapshot_of(table)))
    assert "1 of " in message
    assert "have a target that is null or not finite" in message


def test_text_is_no_feature(make: Make) -> None:
    message = refusal(make(with_column("c", pa.array(["soft"] * 800))))
    assert message == f"{TABLE}: column c is of type string, not a number"


def test_truth_values_and_decimals_are_features(make: Make) -> None:
    table = with_column("b", pa.array([True, None] * 400))
    table = table.set_column(2, "c", pa.array([None, 1.5] * 400).cast(pa.decimal128(10, 2)))
    values = matrix(make(table).rows("train", range(6)).features)
    assert set(np.unique(values[:, 1][~np.isnan(values[:, 1])])) == {1.0}
    assert set(np.unique(values[:, 2][~np.isnan(values[:, 2])])) == {1.5}


def test_keys_that_do_not_order_the_rows_are_refused(make: Make) -> None:
    assert "row_key does not number the rows of shard 0" in refusal(make(with_column("row_key", pa.array([7] * 800))))


def test_a_full_disk_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards, "_write", full)
    message = refusal(make(), FailureReason.STORAGE_FULL)
    assert "No space left on device while caching shards" in message


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="broken disk"):
        shards._write(tmp_path / "a" / "b.arrow", pa.table({"x": [1]}))
    assert list(tmp_path.rglob("*.arrow*")) == []


@pytest.mark.parametrize(
    ("objective", "classes", "target", "fine"),
    [
        (Objective.BINARY_LOGISTIC, 0, [0.0, 1.0], True),
        (Objective.BINARY_LOGISTIC, 0, [0.0, 2.0], False),
        (Objective.MULTICLASS, 3, [0.0, 2.0], True),
        (Objective.MULTICLASS, 3, [3.0], False),
        (Objective.MULTICLASS, 3, [-1.0], False),
        (Objective.MULTICLASS, 3, [0.5], False),
        (Objective.SQUARED_ERROR, 0, [0.5], True),
    ],
)
def test_targets_of_classifiers_are_classes(
    objective: Objective, classes: int, target: list[float], fine: bool
) -> None:
    rows = Rows(features=no_rows(("a",)).features, target=np.array(target))
    if fine:
        rows.require_target_of(objective, classes)
        return
    with pytest.raises(TrainingFailure, match="the target has values") as caught:
        rows.require_target_of(objective, classes)
    assert caught.value.reason is FailureReason.DATA_INVALID
