"""Laps as FastF1 gives them become rows of the raw tables.

No recorded response of its services is at hand here. What FastF1 made of them is, though: the archive beside the project
was made with it. Its laps are put back into FastF1's columns and must come out as the archive has them.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from f1_training.data import fastf1_source, sources
from f1_training.data.fastf1_source import Driver, Race, crossings, laps_table, races_table, results_table, slug
from f1_training.data.ingest import prepare
from f1_training.data.lap_columns import LAP_COLUMNS
from f1_training.data.sources import Found, TablePart, open_source
from tests.fakes import laps_archive
from trainer.contract import FailureReason, TrainingFailure

TODAY = date(2026, 11, 27)
MS = 1_000_000
RACES = ("2023_R05_miami", "2024_R08_monaco", "2025_R01_australia")


def durations(ms: list[int | None]) -> pa.Array:
    return pa.array([None if v is None else v * MS for v in ms], pa.duration("ns"))


def frame(**columns: Any) -> dict[str, pa.Array]:
    """Two cars over three laps, as FastF1 has them; car 44 stops after lap 2."""
    rows: dict[str, Any] = {
        "DriverNumber": ["1", "1", "1", "44", "44", "44"],
        "LapNumber": [1.0, 2.0, 3.0, 1.0, 2.0, 3.0],
        "Time": durations([100_000, 190_000, 280_100, 101_500, 192_000, 304_000]),
        "LapTime": durations([None, 90_000, 90_100, None, 90_500, 112_000]),
        "Stint": [1.0, 1.0, 1.0, 1.0, 1.0, 2.0],
        "TyreLife": [1.0, 2.0, 3.0, 4.0, 5.0, 1.0],
        "FreshTyre": [True, True, True, False, False, True],
        "Compound": ["MEDIUM", "MEDIUM", "MEDIUM", "HARD", "HARD", "SOFT"],
        "TrackStatus": ["1", "1", "1", "1", "1", "2"],
        "Position": [1.0, 1.0, 1.0, 2.0, 2.0, 2.0],
        "IsAccurate": [False, True, True, False, False, True],
        "PitInTime": durations([None, None, None, None, 191_000, None]),
        "PitOutTime": durations([None, None, None, None, None, 213_000]),
        **{f"Sector{n}Time": durations([30_000] * 6) for n in (1, 2, 3)},
        **columns,
    }
    return {name: v if isinstance(v, pa.Array) else pa.array(v) for name, v in rows.items()}


RACE = Race(
    race_id="2025_R08_monaco", season=2025, round=8, race_date="2025-05-25", grand_prix="monaco", circuit_id="monaco",
    scheduled_laps=78,
    drivers={
        "1": Driver(driver_id="max-verstappen", constructor_id="red-bull", grid_position=1, quali_best_ms=70_000),
        "44": Driver(driver_id="lewis-hamilton", constructor_id="ferrari", quali_best_ms=70_300),
    },
)  # fmt: skip


def test_a_race_by_hand() -> None:
    rows = laps_table(frame(), RACE).to_pylist()
    assert [(r["driver_id"], r["lap_number"], r["order_at_line"]) for r in rows] == [
        ("max-verstappen", 1, 1), ("max-verstappen", 2, 1), ("max-verstappen", 3, 1),
        ("lewis-hamilton", 1, 2), ("lewis-hamilton", 2, 2), ("lewis-hamilton", 3, 2),
    ]  # fmt: skip
    assert [r["interval_ahead_ms"] for r in rows] == [None, None, None, 1500, 2000, 23_900]
    assert [r["line_gap_any_car_ms"] for r in rows] == [None, 88_500, 88_100, 1500, 2000, 23_900]
    assert [r["clean_lap"] for r in rows] == [False, True, True, False, False, False]
    assert [r["is_pit_in_lap"] for r in rows] == [False, False, False, False, True, False]
    assert {r["pole_time_ms"] for r in rows} == {70_000}
    assert [rows[0]["grid_position"], rows[3]["grid_position"]] == [1, None]
    assert (rows[0]["course_length_km"], rows[0]["turns"], rows[0]["circuit_type"]) == (3.337, 19, "STREET")
    assert {r["race_wet_share"] for r in rows} == {0.0}


def test_the_tables_are_what_the_raw_tables_take() -> None:
    laps = laps_table(frame(), RACE)
    assert {name: laps.schema.field(name).type for name in LAP_COLUMNS} == {n: k.arrow for n, k in LAP_COLUMNS.items()}
    results = {
        "DriverNumber": pa.array(["1", "44"]),
        "Time": durations([5_400_000, 12_345]),
        "ClassifiedPosition": pa.array(["1", "2"]),
        "Laps": pa.array([78.0, 78.0]),
    }
    found = results_table(results, RACE)
    assert found["finish_time_ms"].to_pylist() == [5_400_000.0, 5_412_345.0]
    assert found["grid_position"].to_pylist() == ["1", None]
    parts = tuple(
        TablePart(table=name, name=name, rows=rows)
        for name, rows in (("laps", laps), ("races", races_table(RACE)), ("results", found))
    )
    batches, checked = prepare(Found(parts=parts))
    for batch in batches:
        batch.file.close()
    assert [result.name for result in checked if not result.passed] == []


def test_missing_times_are_null() -> None:
    missing = frame(Time=durations([None] * 6), LapTime=durations([None] * 6), TyreLife=[None] * 6)
    rows = laps_table({**missing, "TyreLife": pa.nulls(6, pa.float64())}, RACE).to_pylist()
    assert {r["order_at_line"] for r in rows} == {None}
    assert not any(r["clean_lap"] for r in rows)


@pytest.mark.parametrize("race_id", RACES)
@pytest.mark.skipif(not laps_archive.REAL.joinpath("laps.parquet").exists(), reason="no real laps: set F1_LAPS")
def test_real_laps_come_out_as_the_archive_has_them(race_id: str) -> None:
    laps = pq.read_table(laps_archive.REAL / "laps.parquet", filters=[("race_id", "==", race_id)])
    first = laps.slice(0, 1).to_pylist()[0]
    numbers = laps["driver_number"].cast(pa.string()).to_pylist()
    drivers = {
        number: Driver(
            driver_id=row["driver_id"], constructor_id=row["constructor_id"], grid_position=row["grid_position"],
            quali_best_ms=row["quali_best_ms"],
        )
        for number, row in zip(numbers, laps.to_pylist(), strict=True)
    }  # fmt: skip
    race = Race(
        race_id=race_id, season=first["season"], round=first["round"], race_date=first["race_date"], grand_prix="x",
        circuit_id=first["circuit_id"], scheduled_laps=first["scheduled_laps"], drivers=drivers,
    )  # fmt: skip

    def taken(name: str) -> pa.Array:
        return laps[name].combine_chunks()

    flags = {name: taken(f"is_{name}_lap").to_pylist() for name in ("pit_in", "pit_out")}
    as_fastf1 = {
        "DriverNumber": pa.array(numbers), "LapNumber": taken("lap_number"), "Stint": taken("stint"),
        "Time": durations(laps["session_time_end_ms"].to_pylist()), "LapTime": durations(laps["lap_time_ms"].to_pylist()),
        "TyreLife": taken("tire_age"), "FreshTyre": taken("fresh_tyre"), "Compound": taken("compound"),
        "TrackStatus": taken("track_status"), "Position": taken("position"), "IsAccurate": taken("is_accurate"),
        "PitInTime": durations([1 if flag else None for flag in flags["pit_in"]]),
        "PitOutTime": durations([1 if flag else None for flag in flags["pit_out"]]),
        **{f"Sector{n}Time": durations(laps[f"sector{n}_ms"].to_pylist()) for n in (1, 2, 3)},
    }  # fmt: skip
    found = laps_table(as_fastf1, race)
    for name in ("lap_time_ms", "order_at_line", "tire_age", "stint", "position", "is_green", "race_wet_share"):
        pairs = list(zip(found[name].to_pylist(), laps[name].to_pylist(), strict=True))
        assert np.mean([ours == pytest.approx(theirs) for ours, theirs in pairs]) > 0.999, name
    for name in ("interval_ahead_ms", "line_gap_any_car_ms"):
        ours, theirs = (np.array(t[name].cast(pa.float64()).to_pylist(), float) for t in (found, laps))
        close = np.isclose(ours, theirs, atol=1, equal_nan=True)
        assert close.mean() > 0.97, name
    agree = pc.equal(found["clean_lap"].combine_chunks(), pc.fill_null(laps["clean_lap"].combine_chunks(), False))
    assert pc.mean(pc.cast(agree, pa.float64())).as_py() > 0.98


def test_crossings_without_any_time() -> None:
    order, interval, gap = crossings(np.array([1.0, np.nan]), np.array([np.nan, np.nan]))
    assert order.null_count == interval.null_count == gap.null_count == 2


def test_names_are_the_archive_s() -> None:
    assert slug("Nico Hülkenberg") == "nico-hulkenberg"
    assert slug("Haas F1 Team") == "haas-f1-team"
    known = fastf1_source.facts()
    assert {event["circuit"] for event in known["events"].values()} <= set(known["circuits"])
    assert set(known["locations"].values()) <= set(known["circuits"])


def test_without_the_library_the_fix_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastf1", None)
    with pytest.raises(TrainingFailure, match=r"install f1-training\[fastf1\], or set data\.fastf1_python") as caught:
        next(fastf1_source.season_tables(2025, cache=tmp_path, today=TODAY))
    assert caught.value.reason is FailureReason.CONFIG_INVALID


class RateLimitExceededError(Exception):
    """As FastF1 calls it."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("Failed to load any schedule data."), FailureReason.NETWORK_TIMEOUT),
        (ConnectionError("refused"), FailureReason.NETWORK_TIMEOUT),
        (RateLimitExceededError("500 calls/h"), FailureReason.RESOURCE_EXHAUSTED),
        (ValueError("Invalid round: 99"), FailureReason.CONFIG_INVALID),
    ],
)
def test_what_the_library_raises_becomes_a_reason(error: Exception, reason: FailureReason) -> None:
    with pytest.raises(TrainingFailure, match="FastF1, season 2025: ") as caught, fastf1_source._Errors("season 2025"):
        raise error
    assert caught.value.reason is reason


def test_the_process_that_fetches_says_why_it_failed(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailure, match="which is not there; give an environment's interpreter"):
        open_source("fastf1:2025", today=TODAY, scratch=tmp_path, python="/no/such/python")
    # The environment of the tests does not have the library.
    with pytest.raises(TrainingFailure, match="needs the library FastF1") as caught:
        open_source("fastf1:2025:1,2", today=TODAY, scratch=tmp_path)
    assert caught.value.reason is FailureReason.CONFIG_INVALID


def test_what_was_fetched_is_ingested_as_if_it_had_landed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    into = tmp_path / "fetched"

    def run(command: list[str], **_: Any) -> Any:
        assert command[3:7] == ["--season", "2025", "--rounds", "8"]
        into.mkdir()
        pq.write_table(laps_table(frame(), RACE), into / "laps-2025-000.parquet")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(sources.subprocess, "run", run)
    found = open_source("fastf1:2025:8", today=TODAY, scratch=tmp_path)
    assert [part.table for part in found.parts] == ["laps"]
