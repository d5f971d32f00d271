"""Simulated car laps: whole races, the same whatever else is there, with the physics that they claim."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from f1_training.data import car_laps
from f1_training.data.car_simulator import (
    BIAS_FLOOR_PCT,
    CORNER_PCT,
    CORNER_SHARE,
    FUEL_FLOOR_KG,
    FUEL_KG_PER_KM,
    LAP_INPUTS,
    USUAL_CORNERS_PER_KM,
    simulate_car,
)
from f1_training.data.ingest import Batch
from f1_training.data.simulator import SeasonSet, simulate
from f1_training.data.suite import raw_suites

LAPS = simulate(SeasonSet(seasons=3, races_per_season=3, drivers=8))
KEYS = ("race_id", "driver_id", "lap_number")


def batch(name: str, rows: pa.Table) -> Batch:
    file = io.BytesIO()
    pq.write_table(rows, file)
    file.seek(0)
    groups = tuple(sorted(set(rows["race_id"].to_pylist())))
    return Batch(suite=raw_suites()[name], file=file, rows=rows.num_rows, groups=groups)


def joined(laps: pa.Table) -> dict[str, np.ndarray[Any, Any]]:
    table = laps.join(simulate_car(laps), list(KEYS)).combine_chunks()
    return {name: np.asarray(table[name].to_pylist()) for name in table.column_names}


def test_every_lap_has_one_whatever_their_order() -> None:
    shuffled = LAPS.take(pa.array(np.random.default_rng(0).permutation(LAPS.num_rows)))
    found = simulate_car(shuffled)
    assert found.equals(simulate_car(LAPS))
    assert found.num_rows == LAPS.num_rows
    assert set(zip(*(found[k].to_pylist() for k in KEYS), strict=True)) == set(
        zip(*(LAPS[k].to_pylist() for k in KEYS), strict=True)
    )


def test_a_race_is_the_same_without_the_others() -> None:
    race = LAPS["race_id"][0].as_py()
    alone = simulate_car(LAPS.filter(pc.equal(LAPS["race_id"], race)))
    every = simulate_car(LAPS)
    assert alone.equals(every.filter(pc.equal(every["race_id"], race)))


def test_no_laps_are_no_car_laps() -> None:
    assert simulate_car(LAPS.slice(0, 0)).num_rows == 0


def test_gaps_in_the_laps_leave_none_in_what_needs_no_gapless_lap() -> None:
    some = LAPS.slice(0, 200)
    for name in ("compound_pirelli", "tire_age", "stint", "interval_ahead_ms", "clean_lap"):
        some = some.set_column(some.schema.get_field_index(name), name, pa.nulls(200, some.schema.field(name).type))
    found = simulate_car(some)
    assert found["fuel_used_kg"].null_count == found["front_brake_bias_pct"].null_count == 0


def test_fuel_follows_distance_corners_and_the_safety_car() -> None:
    found = joined(LAPS)
    corners = 1 + CORNER_SHARE * (found["turns"] / found["course_length_km"] - USUAL_CORNERS_PER_KM)
    share = found["fuel_used_kg"] / (found["course_length_km"] * FUEL_KG_PER_KM * corners)
    clean = found["clean_lap"].astype(bool)
    assert share[clean].mean() == pytest.approx(1.0, abs=0.02)  # slipstream takes up to 3 %
    assert share[~clean].mean() == pytest.approx(0.55, abs=0.02)


def test_the_bias_is_linear_in_what_it_follows_from_and_noise_is_all_that_is_left() -> None:
    found = joined(LAPS)
    drivers = np.unique(np.char.add(found["race_id"], found["driver_id"]), return_inverse=True)[1]
    soft = np.array([float(name[1]) if name[:1] == "C" else 3.0 for name in found["compound_pirelli"]])
    columns = [(found["lap_number"] - 0.5) / found["scheduled_laps"], found["tire_age"].astype(float), soft]
    matrix = np.column_stack([*columns, np.eye(drivers.max() + 1)[drivers]])
    bias = found["front_brake_bias_pct"]
    weights = np.linalg.lstsq(matrix, bias, rcond=None)[0]
    assert weights[:3] == pytest.approx([1.5, 0.03, 0.2], abs=0.03)
    assert np.abs(bias - matrix @ weights).mean() == pytest.approx(BIAS_FLOOR_PCT, rel=0.05)
    assert (0.3, pytest.approx(0.0239, abs=1e-4)) == (CORNER_PCT, FUEL_FLOOR_KG)


def test_laps_without_car_laps_get_some() -> None:
    laps = batch("laps", LAPS)
    before, made = car_laps.with_car_laps([laps], measured=())
    assert before is laps
    assert (made.suite.name, made.rows, made.groups) == ("car_laps", LAPS.num_rows, laps.groups)
    with made.file:
        rows = pq.read_table(made.file)
    assert rows.schema.names == list(raw_suites()["car_laps"].columns)
    assert set(rows["origin"].to_pylist()) == {"simulated"}
    assert set(LAP_INPUTS) <= set(pq.read_table(laps.file).schema.names), "the laps can still be read"


def test_nothing_is_simulated_for_measured_races_or_beside_car_laps() -> None:
    laps = batch("laps", LAPS)
    first, *others = laps.groups
    made = car_laps.with_car_laps([laps], measured={first})[1]
    made.file.close()
    assert made.groups == tuple(others)
    assert car_laps.with_car_laps([laps], measured=laps.groups) == [laps]
    own = batch("car_laps", simulate_car(LAPS))
    assert car_laps.with_car_laps([laps, own], measured=()) == [laps, own]
    assert car_laps.with_car_laps([own], measured=()) == [own]
