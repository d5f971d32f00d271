"""The Storage Read API, with what can go wrong on the way: streams go on where they broke, the rest has a reason."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from google.api_core import exceptions

from tests.fakes.snapshots import TABLE, FakeStorageRead, made_up_rows
from trainer.contract import FailureReason, TrainingFailure
from trainer.data import TableReader, count_rows, read_split, reading
from trainer.data.reading import ATTEMPTS, BACK_OFF_S, split_condition, storage_read_client

ROWS = made_up_rows(rows=1000)
Fail = Callable[[str, str, int], None]


def reader_of(fake: FakeStorageRead, slept: list[float] | None = None) -> TableReader:
    return TableReader(table=TABLE, client=fake, sleep=(slept if slept is not None else []).append)


def keys(table: pa.Table) -> list[int]:
    return sorted(table["row_key"].to_pylist())


def expected_keys(split: str, shards: list[int]) -> list[int]:
    rows = ROWS.to_pylist()
    return sorted(r["row_key"] for r in rows if r["split"] == split and r["shard"] in shards)


def test_streams_are_read_together_and_columns_come_as_asked_for() -> None:
    fake = FakeStorageRead(ROWS)
    got = reader_of(fake).read(["row_key", "a"], split_condition("train", [1, 2]))
    assert got.column_names == ["row_key", "a"]
    assert keys(got) == expected_keys("train", [1, 2])
    assert fake.restrictions == ["split = 'train' AND shard IN (1, 2)"]


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ServiceUnavailable("gone for a moment"),
        exceptions.DeadlineExceeded("slow"),
        exceptions.InternalServerError("RST_STREAM"),
        exceptions.ResourceExhausted("quota"),
        exceptions.Aborted("again"),
    ],
)
def test_a_stream_that_breaks_goes_on_where_it_broke(error: Exception) -> None:
    broken: list[tuple[str, int]] = []

    def fail(call: str, stream: str, sent: int) -> None:
        if call == "read_rows" and sent >= 100 and (stream, sent) not in broken:
            broken.append((stream, sent))
            raise error

    fake, slept = FakeStorageRead(ROWS, fail=fail), []
    got = reader_of(fake, slept).read(["row_key"], split_condition("train"))
    assert keys(got) == expected_keys("train", list(range(6)))
    assert len(broken) >= 3
    assert {sent for _, sent in broken} <= set(fake.offsets)
    # Progress between them: each is a first failure.
    assert set(slept) == {BACK_OFF_S[0]}


def test_a_service_that_stays_away_is_given_up() -> None:
    def fail(*_: object) -> None:
        raise exceptions.ServiceUnavailable("down")

    slept: list[float] = []
    with pytest.raises(TrainingFailure, match=f"{TABLE}: BigQuery failed {ATTEMPTS} times in a row") as caught:
        reader_of(FakeStorageRead(ROWS, fail=fail), slept).read(["a"], split_condition("train"))
    assert caught.value.reason is FailureReason.NETWORK_TIMEOUT
    assert slept == list(BACK_OFF_S)


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (exceptions.NotFound("no such table"), FailureReason.DATA_INVALID, "expired"),
        (exceptions.InvalidArgument("no column x"), FailureReason.DATA_INVALID, "no column x"),
        (exceptions.PermissionDenied("not yours"), FailureReason.PERMISSION_DENIED, "readSessionUser"),
        (exceptions.Unauthenticated("who?"), FailureReason.PERMISSION_DENIED, "dataViewer"),
    ],
)
def test_what_no_retry_mends_is_told_at_once(error: Exception, reason: FailureReason, words: str) -> None:
    def fail(*_: object) -> None:
        raise error

    slept: list[float] = []
    with pytest.raises(TrainingFailure, match=words) as caught:
        reader_of(FakeStorageRead(ROWS, fail=fail), slept).read(["a"], split_condition("train"))
    assert (caught.value.reason, slept) == (reason, [])
    assert TABLE in str(caught.value)


def test_no_rows_are_a_table_without_rows() -> None:
    got = reader_of(FakeStorageRead(ROWS)).read(["a", "row_key"], split_condition("test"))
    assert (got.num_rows, got.column_names) == (0, ["a", "row_key"])


@pytest.mark.parametrize("split", ["", "a'b", "x OR 1 = 1", "a\\"])
def test_a_split_cannot_be_something_else(split: str) -> None:
    with pytest.raises(TrainingFailure, match="part of its name") as caught:
        split_condition(split)
    assert caught.value.reason is FailureReason.CONFIG_INVALID


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeStorageRead:
    found = FakeStorageRead(ROWS)
    monkeypatch.setattr(reading, "_connected", lambda kind, emulator: found)
    return found


def test_rows_are_counted_by_split_and_shard(fake: FakeStorageRead) -> None:
    counts = count_rows(TABLE, ["train", "validation"], 7)
    assert counts["train"] == tuple(len(expected_keys("train", [s])) for s in range(7))
    assert sum(map(sum, counts.values())) == 1000
    with pytest.raises(TrainingFailure, match="has rows of shard 5; there are 5 shards") as caught:
        count_rows(TABLE, ["train"], 5)
    assert caught.value.reason is FailureReason.DATA_INVALID


def test_a_split_is_read_in_its_own_order(fake: FakeStorageRead) -> None:
    got = read_split(TABLE, "validation", ("a", "group_id", "shard"))
    assert got.column_names == ["a", "group_id", "shard"]
    expected = ROWS.filter(pc.equal(ROWS["split"], "validation"))
    expected = expected.sort_by([("shard", "ascending"), ("row_key", "ascending")])
    assert got["a"].to_pylist() == expected["a"].to_pylist()


def test_without_credentials_permission_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from google.auth.exceptions import DefaultCredentialsError

    def fail(*_: object, **__: object) -> None:
        raise DefaultCredentialsError("none found")

    monkeypatch.delenv("BIGQUERY_STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr("google.auth.default", fail)
    with pytest.raises(TrainingFailure, match="Workload Identity") as caught:
        storage_read_client()
    assert caught.value.reason is FailureReason.PERMISSION_DENIED
