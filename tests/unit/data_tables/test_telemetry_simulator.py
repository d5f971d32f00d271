"""Simulated test days: the same for the same seed, and driven in ways that the laps before tell something about."""

import numpy as np

from f1_training.data.suite import raw_suites
from f1_training.data.telemetry_simulator import DAYS, DRIVERS, simulate_telemetry


def test_it_is_the_same_for_the_same_seed_only() -> None:
    assert simulate_telemetry(3).equals(simulate_telemetry(3))
    assert not simulate_telemetry(3).equals(simulate_telemetry(4))


def test_its_columns_are_those_of_the_raw_table() -> None:
    found = simulate_telemetry()
    columns = raw_suites()["telemetry_laps"].columns
    assert {
        name: columns[name].type.admits(found.schema.field(name).type) for name in found.column_names
    } == dict.fromkeys(found.column_names, True)
    assert len(set(found["session_id"].to_pylist())) == DAYS
    assert len(set(found["driver_code"].to_pylist())) == DRIVERS


def test_laps_of_a_driver_are_numbered_through_the_day() -> None:
    found = simulate_telemetry()
    keys = list(zip(*(found[name].to_pylist() for name in ("session_id", "driver_code", "lap_number")), strict=True))
    assert len(set(keys)) == len(keys)
    laps: dict[tuple[str, str], list[int]] = {}
    for session, driver, lap in keys:
        laps.setdefault((session, driver), []).append(lap)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in laps.values())


def test_whoever_lifts_is_slower() -> None:
    found = simulate_telemetry()
    clean = np.array(found["clean_tel_lap"].to_pylist())
    lift, lap_ms = (np.array(found[name].to_pylist())[clean] for name in ("lift_coast_m_total", "lap_time_ms"))
    assert lap_ms[lift >= 80].mean() > lap_ms[lift < 80].mean() + 1000
    assert 0.7 < clean.mean() < 0.85
