"""Laps as FastF1 gives them become rows of the raw tables; FastF1 itself is not needed here.

The archive beside the project was made with it: its laps are put back into FastF1's columns, and must come out as the
archive has them.
"""

from __future__ import annotations

import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from f1_training.data import sources
from f1_training.data.fastf1_names import constructor_id
from f1_training.data.fastf1_tables import Race, circuits, laps_table, race_table, results_table
from f1_training.data.ingest import prepare
from f1_training.data.sources import Found, TablePart, open_source
from tests.fakes import laps_archive
from trainer.contract import FailureReason, TrainingFailure

TODAY = date(2026, 11, 27)
RACES = ("2023_R05_miami", "2024_R08_monaco", "2025_R01_australia")


def durations(ms: list[int | None]) -> pa.Array:
    return pa.array([None if v is None else v * 1_000_000 for v in ms], pa.duration("ns"))


def frame(index: str = "", **columns: Any) -> Any:
    """A pandas frame, as FastF1 gives them, without importing pandas by name."""
    table = pa.table({name: v if isinstance(v, pa.Array) else pa.array(v) for name, v in columns.items()})
    found = table.to_pandas()
    return found.set_index(index, drop=False) if index else found


LAPS = frame(
    DriverNumber=["1", "1", "1", "44", "44", "44"],
    LapNumber=[1.0, 2.0, 3.0, 1.0, 2.0, 3.0],
    Time=durations([100_000, 190_000, 280_100, 101_500, 192_000, 304_000]),
    LapTime=durations([None, 90_000, 90_100, None, 90_500, 112_000]),
    Stint=[1.0, 1.0, 1.0, 1.0, 1.0, 2.0],
    TyreLife=[1.0, 2.0, 3.0, 4.0, 5.0, 1.0],
    FreshTyre=[True, True, True, False, False, True],
    Compound=["MEDIUM", "MEDIUM", "MEDIUM", "HARD", "HARD", "SOFT"],
    TrackStatus=["1", "1", "1", "1", "1", "2"],
    Position=[1.0, 1.0, 1.0, 2.0, 2.0, 2.0],
    IsAccurate=[False, True, True, False, False, True],
    PitInTime=durations([None, None, None, None, 191_000, None]),
    PitOutTime=durations([None, None, None, None, None, 213_000]),
    **{f"Sector{n}Time": durations([30_000] * 6) for n in (1, 2, 3)},
)
RESULTS = frame(
    "DriverNumber",
    DriverNumber=["1", "44"],
    FirstName=["Max", "Lewis"],
    LastName=["Verstappen", "Hamilton"],
    TeamName=["Red Bull Racing", "Ferrari"],
    GridPosition=[1.0, 0.0],
    Position=[1.0, 2.0],
    ClassifiedPosition=["1", "2"],
    Time=durations([5_400_000, 12_345]),
    Laps=[78.0, 78.0],
)
RACE = Race(
    race_id="2025_R08_monaco", season=2025, round=8, race_date="2025-05-25", grand_prix="monaco", circuit_id="monaco",
    scheduled_laps=78, turns=None, quali_ms={"1": 70_000, "44": 70_300}, results=RESULTS, laps=LAPS,
)  # fmt: skip


def test_a_race_by_hand() -> None:
    rows = laps_table(RACE).to_pylist()
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
    results = results_table(RACE)
    assert results["finish_time_ms"].to_pylist() == [5_400_000.0, 5_412_345.0]
    assert results["grid_position"].to_pylist() == ["1", "PL"]
    tables = {"laps": laps_table(RACE), "races": race_table(RACE), "results": results}
    parts = tuple(TablePart(table=name, name=name, rows=rows) for name, rows in tables.items())
    batches, checked = prepare(Found(parts=parts))
    for batch in batches:
        batch.file.close()
    assert [result.name for result in checked if not result.passed] == []


@pytest.mark.parametrize("race_id", RACES)
@pytest.mark.skipif(not laps_archive.REAL.joinpath("laps.parquet").exists(), reason="no real laps: set F1_LAPS")
def test_real_laps_come_out_as_the_archive_has_them(race_id: str) -> None:
    laps = pq.read_table(laps_archive.REAL / "laps.parquet", filters=[("race_id", "==", race_id)])
    first = laps.slice(0, 1).to_pylist()[0]
    numbers = laps["driver_number"].cast(pa.string()).to_pylist()
    by_number = dict(zip(numbers, laps.to_pylist(), strict=True))
    first_names, last_names = zip(*(row["driver_id"].partition("-")[::2] for row in by_number.values()), strict=True)

    def flagged(name: str) -> pa.Array:
        return durations([1 if flag else None for flag in laps[f"is_{name}_lap"].to_pylist()])

    def column(name: str, kind: pa.DataType | None = None) -> pa.Array:
        found = laps[name].combine_chunks()
        return found.cast(kind) if kind else found

    race = Race(
        race_id=race_id, season=first["season"], round=first["round"], race_date=first["race_date"], grand_prix="x",
        circuit_id=first["circuit_id"], scheduled_laps=first["scheduled_laps"], turns=None,
        quali_ms={number: row["quali_best_ms"] for number, row in by_number.items() if row["quali_best_ms"]},
        results=frame(
            "DriverNumber", DriverNumber=list(by_number), FirstName=list(first_names), LastName=list(last_names),
            TeamName=[row["team"] for row in by_number.values()],
            GridPosition=[float(row["grid_position"] or 0) for row in by_number.values()],
        ),
        laps=frame(
            DriverNumber=numbers, LapNumber=column("lap_number", pa.float64()), Stint=column("stint", pa.float64()),
            Time=durations(laps["session_time_end_ms"].to_pylist()), LapTime=durations(laps["lap_time_ms"].to_pylist()),
            TyreLife=column("tire_age", pa.float64()), FreshTyre=column("fresh_tyre"), Compound=column("compound"),
            TrackStatus=column("track_status"), Position=column("position", pa.float64()),
            IsAccurate=column("is_accurate"), PitInTime=flagged("pit_in"), PitOutTime=flagged("pit_out"),
            **{f"Sector{n}Time": durations(laps[f"sector{n}_ms"].to_pylist()) for n in (1, 2, 3)},
        ),
    )  # fmt: skip
    found = laps_table(race)
    for name in ("lap_time_ms", "order_at_line", "tire_age", "stint", "position", "race_wet_share", "constructor_id"):
        pairs = list(zip(found[name].to_pylist(), laps[name].to_pylist(), strict=True))
        assert np.mean([ours == pytest.approx(theirs) for ours, theirs in pairs]) > 0.999, name
    for name in ("interval_ahead_ms", "line_gap_any_car_ms"):
        ours, theirs = (np.array(t[name].cast(pa.float64()).to_pylist(), float) for t in (found, laps))
        close = np.isclose(ours, theirs, atol=1, equal_nan=True)
        assert close.mean() > 0.97, name
    pairs = list(zip(found["clean_lap"].to_pylist(), laps["clean_lap"].to_pylist(), strict=True))
    assert np.mean([ours is theirs for ours, theirs in pairs]) > 0.999


def test_every_team_of_the_archive_s_teams_is_known_by_its_name() -> None:
    assert constructor_id("Haas F1 Team") == "haas"
    assert all(set(facts) == {"km", "turns", "type"} for facts in circuits().values())
    assert {"monaco", "madring"} <= set(circuits())


def test_the_process_that_fetches_says_why_it_failed(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailure, match="which is not there; give an environment's interpreter"):
        open_source("fastf1:2025", today=TODAY, scratch=tmp_path, python="/no/such/python")
    # The environment of the tests does not have the library.
    with pytest.raises(TrainingFailure, match="FastF1 is not installed") as caught:
        open_source("fastf1:2025:1,2", today=TODAY, scratch=tmp_path)
    assert caught.value.reason is FailureReason.CONFIG_INVALID


def test_what_was_fetched_is_ingested_as_if_it_had_landed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    into = tmp_path / "fetched"

    def run(command: list[str], **_: Any) -> Any:
        assert command[3:7] == ["--season", "2025", "--rounds", "8"]
        into.mkdir()
        pq.write_table(laps_table(RACE), into / "laps-2025-000.parquet")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(sources.subprocess, "run", run)
    found = open_source("fastf1:2025:8", today=TODAY, scratch=tmp_path)
    assert [part.table for part in found.parts] == ["laps"]
