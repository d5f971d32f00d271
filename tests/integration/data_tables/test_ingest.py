"""Ingest and publish on BigQuery's protocol: each race replaced as a whole, nothing half-written."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery

from composer.local.laps import emulator_client
from f1_training.core.settings import Settings
from f1_training.data import ingest, process
from f1_training.data.lap_columns import SPLITS
from f1_training.data.sources import Found, TablePart, open_source
from tests.fakes import laps_archive
from tests.fakes.laps_archive import Archive, changed, in_race, with_table
from tests.integration.data_tables.conftest import TODAY, Pipeline
from trainer.contract import TrainingFailure

pytestmark = pytest.mark.timeout(400)

KILLS = 20


@pytest.fixture(scope="module")
def archive() -> Archive:
    return laps_archive.simulated()


def part(laps: pa.Table, name: str = "laps.parquet") -> TablePart:
    return TablePart(table="laps", name=name, rows=laps)


def merged(pipeline: Pipeline, *parts: TablePart, replace_all: bool = False) -> None:
    batches, results = ingest.prepare(Found(parts=parts))
    assert not any(result.failed for result in results), results
    list(ingest.merge_all(pipeline.warehouse, pipeline.settings, batches, replace_all=replace_all))


def fingerprint(client: bigquery.Client, table: str) -> tuple[int, int]:
    """Rows, and a number that follows from all their values."""
    columns = [f.name for f in client.get_table(table).schema]
    text = ", '|', ".join(f"COALESCE(CAST(`{c}` AS STRING), '')" for c in sorted(columns))
    ((rows, checksum),) = client.query(
        f"SELECT COUNT(*), BIT_XOR(FARM_FINGERPRINT(CONCAT({text}))) FROM `{table}`"
    ).result()
    return rows, checksum


def test_a_second_time_adds_no_row_and_changes_no_value(pipeline: Pipeline, archive: Archive) -> None:
    pipeline.ingest(archive)
    first = {name: fingerprint(pipeline.client, pipeline.raw(name)) for name in archive}
    assert first["laps"][0] == archive["laps"].num_rows
    pipeline.ingest(archive)
    assert {name: fingerprint(pipeline.client, pipeline.raw(name)) for name in archive} == first


def test_a_corrected_race_replaces_that_race_only(pipeline: Pipeline, archive: Archive) -> None:
    laps = archive["laps"]
    merged(pipeline, part(laps))
    race = laps.filter(in_race(laps))
    corrected = changed(
        race.slice(0, race.num_rows - 7),
        "lap_time_ms",
        pc.is_valid(race["race_id"]).slice(0, race.num_rows - 7),
        91_234,
    )
    merged(pipeline, part(corrected))
    assert pipeline.count(pipeline.raw("laps")) == laps.num_rows - 7
    sql = f"SELECT COUNT(*) FROM `{pipeline.raw('laps')}` WHERE lap_time_ms = 91234"
    ((rows,),) = pipeline.client.query(sql).result()
    assert rows == corrected.num_rows


def test_a_race_in_two_files_is_taken_from_the_last(pipeline: Pipeline, archive: Archive) -> None:
    laps = archive["laps"]
    newer = laps.filter(in_race(laps)).slice(0, 11)
    merged(pipeline, part(laps, "laps-1.parquet"), part(newer, "laps-2.parquet"))
    others = pc.sum(pc.invert(in_race(laps))).as_py()
    assert pipeline.count(pipeline.raw("laps")) == others + 11


def test_starting_anew_leaves_nothing_else(pipeline: Pipeline, archive: Archive) -> None:
    laps = archive["laps"]
    merged(pipeline, part(laps))
    merged(pipeline, part(laps.filter(in_race(laps))), replace_all=True)
    assert pipeline.count(pipeline.raw("laps")) == laps.filter(in_race(laps)).num_rows


def test_csv_and_parquet_files_give_the_same_rows(pipeline: Pipeline, archive: Archive, tmp_path: Path) -> None:
    laps = archive["laps"]
    landing = tmp_path / "landing"
    (landing / "2023").mkdir(parents=True)
    pa_csv.write_csv(laps.filter(in_race(laps)), landing / "2023" / "laps-2023-R01.csv")
    pq.write_table(laps.filter(pc.invert(in_race(laps))), landing / "laps.parquet")
    pq.write_table(archive["races"], landing / "races.parquet")
    (landing / "notes.txt").write_text("hello")
    found = open_source(f"file://{landing}", today=TODAY, scratch=tmp_path)
    assert [p.rpartition("/")[2] for p in found.ignored] == ["notes.txt"]
    batches, results = ingest.prepare(found)
    assert not any(result.failed for result in results), results
    list(ingest.merge_all(pipeline.warehouse, pipeline.settings, batches))
    from_files = fingerprint(pipeline.client, pipeline.raw("laps"))
    merged(pipeline, part(laps))
    assert fingerprint(pipeline.client, pipeline.raw("laps")) == from_files
    assert from_files[0] == laps.num_rows


def test_one_wrong_file_means_that_nothing_is_loaded(pipeline: Pipeline, archive: Archive) -> None:
    broken = with_table(archive, "races", archive["races"].drop_columns("race_id"))
    results = pipeline.ingest(broken)
    assert [result.name for result in results if result.failed] == ["schema(races.race_id)"]
    assert pipeline.warehouse.columns(pipeline.raw("laps")) is None


def test_a_table_of_another_type_is_refused_before_anything_is_loaded(pipeline: Pipeline, archive: Archive) -> None:
    pipeline.client.create_dataset(pipeline.settings.datasets.raw)
    pipeline.client.query(f"CREATE TABLE `{pipeline.raw('laps')}` (race_id INT64)").result()
    with pytest.raises(TrainingFailure, match="race_id is INT64, not STRING; rename the table"):
        pipeline.ingest(archive)
    assert pipeline.count(pipeline.raw("laps")) == 0


def test_a_raw_table_of_an_older_version_gets_the_new_columns(pipeline: Pipeline, archive: Archive) -> None:
    pipeline.client.create_dataset(pipeline.settings.datasets.raw)
    pipeline.client.query(f"CREATE TABLE `{pipeline.raw('races')}` (race_id STRING)").result()
    pipeline.ingest({"races": archive["races"]})
    assert pipeline.count(pipeline.raw("races")) == archive["races"].num_rows


@pytest.mark.parametrize(
    ("validation", "test", "expected"),
    [
        (None, None, {"train": 2023, "validation": 2024, "test": 2025}),
        (2025, 2026, {"train": 2024, "validation": 2025}),
    ],
)
def test_seasons_are_split_as_configured(
    pipeline: Pipeline, archive: Archive, validation: int | None, test: int | None, expected: dict[str, int]
) -> None:
    from dataclasses import replace

    from f1_training.core.settings import DataSettings

    data = DataSettings(validation_season=validation, test_season=test)
    pipeline.settings = replace(pipeline.settings, data=data)
    merged(pipeline, part(archive["laps"].drop_columns("split")))
    candidates = process.process(pipeline.warehouse, pipeline.settings, "seasons")
    newest = {}
    for label, table in candidates.items():
        ((season,),) = pipeline.client.query(f"SELECT MAX(season) FROM `{table}`").result()
        newest[label] = season
    assert {label: season for label, season in newest.items() if season} == expected


def test_too_few_seasons_say_what_to_do(pipeline: Pipeline, archive: Archive) -> None:
    laps = archive["laps"].drop_columns("split")
    merged(pipeline, part(laps.filter(pc.less(laps["season"], 2025))))
    with pytest.raises(TrainingFailure, match=r"laps of 3 seasons or more.*data\.test_season"):
        process.process(pipeline.warehouse, pipeline.settings, "few")


def everything(client: bigquery.Client, settings: Settings, laps: pa.Table) -> None:
    """What the DAG does to the tables, but for its checks."""
    pipeline = Pipeline(client, settings)
    merged(pipeline, part(laps))
    candidates = process.process(pipeline.warehouse, settings, f"run_{os.getpid()}")
    pipeline.warehouse.ensure_dataset(settings.datasets.strategy, expires=False)
    for label, candidate in candidates.items():
        pipeline.warehouse.copy(candidate, f"{settings.project}.{settings.datasets.strategy}.{label}")


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_every_table_as_it_was_or_new(
    pipeline: Pipeline, archive: Archive, rest: str
) -> None:
    old, settings, client = archive["laps"], pipeline.settings, pipeline.client
    new = changed(old, "lap_time_ms", pc.is_valid(old["lap_time_ms"]), pc.add(old["lap_time_ms"], 7))
    tables = [pipeline.raw("laps")]
    tables += [f"{settings.project}.{settings.datasets.strategy}.{label}" for label in SPLITS]

    def states(laps: pa.Table) -> tuple[list[tuple[int, int]], float]:
        began = time.monotonic()
        everything(client, settings, laps)
        return [fingerprint(client, table) for table in tables], time.monotonic() - began

    after, seconds = states(new)
    before, _ = states(old)
    assert all(a != b for a, b in zip(before, after, strict=True))
    seen = set()
    for number in range(KILLS):
        child = os.fork()
        if child == 0:
            try:
                # A connection of its own: the parent's is in use.
                everything(emulator_client(rest), settings, new if number % 2 == 0 else old)
            finally:
                os._exit(0)
        time.sleep(seconds * (number + 0.5) / KILLS)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = [fingerprint(client, table) for table in tables]
        assert all(f in (b, a) for f, b, a in zip(found, before, after, strict=True)), number
        seen.add(tuple(f == a for f, a in zip(found, after, strict=True)))
    assert len(seen) > 1, "every kill came too early or too late"
    everything(client, settings, new)
    assert [fingerprint(client, table) for table in tables] == after
