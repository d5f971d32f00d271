"""Shards over a real gRPC channel, with the ordinary client."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.fakes.snapshots import FEATURES, TABLE, made_up_rows, snapshot_of
from tests.integration.jobs.pods import storage_read
from trainer.contract import FailureReason, TrainingFailure
from trainer.data import ShardReader, count_rows, read_split, read_table, storage_read_client

ROWS = made_up_rows(rows=5000)


@pytest.fixture(autouse=True)
def _server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pq.write_table(ROWS, tmp_path / "rows.parquet")
    with storage_read({TABLE: tmp_path / "rows.parquet"}) as port:
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", f"127.0.0.1:{port}")
        yield


def test_a_snapshot_is_counted_and_read(tmp_path: Path) -> None:
    snapshot = snapshot_of(ROWS)
    assert count_rows(TABLE, ["train", "validation"], 6) == dict(snapshot.rows)
    reader = ShardReader(snapshot=snapshot, features=FEATURES, target="target", folder=tmp_path / "cache")
    rows = reader.rows("validation", range(6))
    whole = read_split(TABLE, "validation", (*FEATURES, "target"))
    assert rows.target.tolist() == whole["target"].to_pylist()
    assert storage_read_client() is not None


def test_what_is_not_there_is_invalid_data() -> None:
    for table, column in (("p.d.gone", "a"), (TABLE, "gone")):
        with pytest.raises(TrainingFailure, match="gone") as caught:
            read_table(table, [column], "split = 'train'")
        assert caught.value.reason is FailureReason.DATA_INVALID
