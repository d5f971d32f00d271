"""Where laps come from, by a word or a URI."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from f1_training.data.sources import FilePart, PartError, open_source
from trainer.contract import FailureReason, TrainingFailure

TODAY = date(2026, 11, 27)


def opened(text: str, folder: Path) -> list[tuple[str, str]]:
    found = open_source(text, today=TODAY, scratch=folder)
    return [(part.table, part.name.rpartition("/")[2]) for part in found.parts]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("laps.parquet", "laps"),
        ("LAPS.csv", "laps"),
        ("laps-2026-R05.csv", "laps"),
        ("laps_2024.parquet", "laps"),
        ("laps2024.parquet", "laps"),
        ("sprint_laps.parquet", "sprint_laps"),
        ("pit_stops_2024.csv", "pit_stops"),
        ("telemetry_laps.parquet", "telemetry_laps"),
    ],
)
def test_files_are_named_after_their_tables(tmp_path: Path, name: str, table: str) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / name).write_bytes(b"")
    assert opened(f"file://{tmp_path}", tmp_path) == [(table, name)]


@pytest.mark.parametrize("name", ["lapsed.parquet", "my_laps.parquet", "laps.xlsx", "readme.txt"])
def test_other_files_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    (tmp_path / "races.csv").write_text("race_id\n")
    found = open_source(f"file://{tmp_path}", today=TODAY, scratch=tmp_path)
    assert [part.table for part in found.parts] == ["races"]
    assert [ignored.rpartition("/")[2] for ignored in found.ignored] == [name]


def test_a_single_file_is_laps_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "mine.parquet").write_bytes(b"")
    assert opened(f"file://{tmp_path}/mine.parquet", tmp_path) == [("laps", "mine.parquet")]


def test_the_simulator_makes_laps_and_telemetry(tmp_path: Path) -> None:
    assert opened("simulator:7", tmp_path) == [("laps", "simulator:7"), ("telemetry_laps", "simulator:7")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "source '' is unknown; examples:"),
        ("laps.parquet", "source 'laps.parquet' is unknown"),
        ("simulator:x", "the seed is a whole number"),
        ("fastf1:25", "expected a season"),
        ("fastf1:2025:a", "expected a season"),
        ("nowhere://bucket", "no file system serves this URI"),
        ("file:///no/such/folder", "holds no file of a table"),
    ],
)
def test_what_cannot_be_is_refused_with_the_fix(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(TrainingFailure) as caught:
        open_source(text, today=TODAY, scratch=tmp_path)
    assert caught.value.reason is FailureReason.CONFIG_INVALID
    assert said in str(caught.value)


def file_part(path: Path, table: str = "races") -> FilePart:
    from fsspec.core import url_to_fs

    filesystem, root = url_to_fs(f"file://{path}")
    return FilePart(table=table, name=path.name, filesystem=filesystem, path=root)


def test_a_part_is_read_in_batches_more_than_once(tmp_path: Path) -> None:
    path = tmp_path / "races.parquet"
    pq.write_table(pa.table({"race_id": [f"r{i}" for i in range(150_000)], "season": [2026] * 150_000}), path)
    part = file_part(path)
    for _ in range(2):
        sizes = [batch.num_rows for batch in part.batches(["race_id"])]
        assert sum(sizes) == 150_000
        assert max(sizes) <= 65_536


def test_a_csv_file_has_the_declared_types(tmp_path: Path) -> None:
    path = tmp_path / "races.csv"
    path.write_text("race_id,season,mood\n2026_R01,2026,fine\n2026_R02,,\n")
    part = file_part(path)
    assert part.schema().field("season").type == pa.int64()
    rows = [row for batch in part.batches(["race_id", "season"]) for row in batch.to_pylist()]
    assert rows == [{"race_id": "2026_R01", "season": 2026}, {"race_id": "2026_R02", "season": None}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("races.parquet", b"PAR1 and then nothing"),
        ("races.csv", b"race_id,season\nr,soon\n"),
        ("races.csv", b""),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    part = file_part(path)
    with pytest.raises(PartError, match=f"{name} cannot be read"):
        part.schema()
        list(part.batches(["race_id"]))
