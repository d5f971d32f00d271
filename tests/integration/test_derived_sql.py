"""The SQL of fuel, brakes, driving style and the next lap: values by hand, and nothing of a lap in its own features."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest
from google.cloud import bigquery

from composer.local.bigquery.testing import running_bigquery
from composer.local.lap_tables import staging
from composer.local.laps import emulator_client
from f1_training.data.suite import raw_suites, strategy_suites
from trainer.contract import read_catalogue

pytestmark = pytest.mark.timeout(400)

Row = dict[str, Any]
Process = Callable[..., dict[int, Row]]
ENTRIES = read_catalogue().entries


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bigquery.Client]:
    with running_bigquery(tmp_path_factory.mktemp("warehouse")) as warehouse:
        yield emulator_client(warehouse.rest)


@pytest.fixture
def process(client: bigquery.Client) -> Process:
    """Run a suite's SQL over rows of raw tables; the result by lap number, of Ann where there are several."""

    def run(suite: str, split: str = "all", **tables: Sequence[Row]) -> dict[int, Row]:
        with staging(client, f"derived_{uuid.uuid4().hex[:12]}") as stage:
            for name, rows in tables.items():
                types = {column: c.type.arrow for column, c in raw_suites()[name].columns.items()}
                stage.upload(name, pa.Table.from_pylist(list(rows), schema=pa.schema(list(types.items()))))
            stage.process(strategy_suites()[suite], split, "processed")
            rows = stage.rows("processed").to_pylist()
            return {row["lap_number"]: row for row in rows if row.get("driver_id", "ann") == "ann"}

    return run


def lap(number: int, **changed: Any) -> Row:
    return {
        "race_id": "2023_R01_alder", "season": 2023, "circuit_id": "alder", "driver_id": "ann", "lap_number": number,
        "lap_time_ms": 90_000 + 100 * number, "clean_lap": number > 1, "race_wet_share": 0.0, "order_at_line": 3,
        "interval_ahead_ms": 1500, "compound": "MEDIUM", "compound_pirelli": "C4", "tire_age": number, "stint": 1,
        "scheduled_laps": 20, "course_length_km": 5.0, "turns": 18, "circuit_type": "STREET",
    } | changed  # fmt: skip


def car(number: int, **changed: Any) -> Row:
    keys = {"race_id": "2023_R01_alder", "driver_id": "ann", "lap_number": number, "origin": "measured"}
    return keys | {"fuel_used_kg": 1.5 + number / 10, "front_brake_bias_pct": 56.0 + number / 10} | changed


def telemetry(number: int, **changed: Any) -> Row:
    return {
        "session_id": "2026_D1", "driver_code": "ANN", "lap_number": number, "stint": 1, "tire_age": number,
        "compound": "SOFT", "lift_coast_m_total": 10.0 * number, "full_throttle_frac": 0.4, "coast_frac": 0.05,
        "brake_frac": 0.2, "throttle_mean_pct": 55.0, "throttle_rate_p95_pct_s": 60.0, "speed_max_kmh": 300.0,
        "lap_time_ms": 98_000 + number, "clean_tel_lap": True,
    } | changed  # fmt: skip


LAPS = [lap(n) for n in range(1, 9)]
CAR = [car(n) for n in range(1, 9)]


def test_fuel_of_a_lap_by_hand(process: Process) -> None:
    row = process("fuel", laps=LAPS, car_laps=CAR)[5]
    assert {name: row[name] for name in ENTRIES["fuel_consumption"].features} == {
        "previous_fuel_kg": pytest.approx(1.9),
        "fuel_last_3_kg": pytest.approx(1.8),  # laps 2 to 4
        "fuel_last_10_kg": pytest.approx(1.8),  # lap 1 is not clean
        "fuel_stint_kg": pytest.approx(1.8),
        "clean_laps_in_stint": 3,
        "lap_number": 5,
        "race_laps": 20,
        "fuel_fraction": pytest.approx(1 - 4.5 / 20),
        "stint": 1,
        "tire_age_laps": 5,
        "previous_interval_ahead_ms": 1500,
        "course_km": 5.0,
        "turns_per_km": pytest.approx(3.6),
        "street_circuit": 1,
    }
    assert (row["fuel_used_kg"], row["fuel_eligible"]) == (pytest.approx(2.0), True)


def test_laps_that_nobody_has_measured_are_not_eligible(process: Process) -> None:
    for suite, flag in (("fuel", "fuel_eligible"), ("brakes", "bias_eligible")):
        rows = process(suite, laps=LAPS, car_laps=CAR[:0])
        assert len(rows) == len(LAPS)
        assert {row[flag] for row in rows.values()} == {False}


def test_the_bias_of_a_lap_by_hand(process: Process) -> None:
    row = process("brakes", laps=LAPS, car_laps=CAR)[7]
    assert {name: row[name] for name in ENTRIES["brake_bias"].features} == {
        "fuel_balance": pytest.approx(0.5 - 6.5 / 20),
        "tire_age_tens": pytest.approx(0.7),
        "softness": 1,
        "corners_per_km": pytest.approx(0.4),
        "street_circuit": 1,
        "bias_so_far_pct": pytest.approx(0.35),  # of laps 1 to 6
        "tire_age_so_far_tens": pytest.approx(0.35),
        "softness_so_far": 1.0,
    }
    assert (row["bias_offset_pct"], row["bias_eligible"]) == (pytest.approx(0.7), True)


def test_the_bias_needs_five_laps_and_no_gap(process: Process) -> None:
    rows = process("brakes", laps=LAPS, car_laps=CAR)
    assert {n for n, row in rows.items() if row["bias_eligible"]} == {6, 7, 8}
    rows = process("brakes", laps=[*LAPS[:6], lap(7, compound_pirelli="UNKNOWN"), lap(8, tire_age=None)], car_laps=CAR)
    assert {n for n, row in rows.items() if row["bias_eligible"]} == {6}


def test_a_style_follows_from_the_pedals(process: Process) -> None:
    laps = [
        telemetry(1, lift_coast_m_total=80.0, full_throttle_frac=0.5),
        telemetry(2, lift_coast_m_total=79.0, full_throttle_frac=0.5),
        telemetry(3, lift_coast_m_total=0.0, full_throttle_frac=0.4),
        telemetry(4, lift_coast_m_total=0.0, full_throttle_frac=0.3),
        telemetry(5, lift_coast_m_total=0.0, full_throttle_frac=0.1, clean_tel_lap=False),
        telemetry(6, lift_coast_m_total=None),
        telemetry(7, clean_tel_lap=None),
    ]
    rows = process("driving", telemetry_laps=laps)
    names = ENTRIES["driving_style"].class_names
    styles = {n: None if row["driving_style"] is None else names[row["driving_style"]] for n, row in rows.items()}
    # The median of the clean laps' full throttle is 0.4.
    assert styles == {1: "save", 2: "push", 3: "push", 4: "balanced", 5: "balanced", 6: "push", 7: "push"}
    assert {n for n, row in rows.items() if row["style_eligible"]} == {1, 2, 3, 4}


def test_a_style_is_known_from_the_laps_before(process: Process) -> None:
    laps = [*(telemetry(n) for n in range(1, 6)), telemetry(6, stint=2, tire_age=1)]
    rows = process("driving", telemetry_laps=laps)
    assert (rows[5]["previous_lift_coast_m"], rows[5]["last_3_lift_coast_m"]) == (40.0, 30.0)
    assert (rows[5]["previous_lap_ms"], rows[5]["last_3_lap_ms"]) == (98_004, 98_003.0)
    assert rows[6]["previous_lift_coast_m"] is rows[6]["last_3_lift_coast_m"] is None, "another stint"
    assert rows[6]["session_driver"] == "2026_D1_ANN"


def test_the_newest_session_is_the_test(process: Process) -> None:
    laps = [telemetry(n, session_id=f"2026_D{n}") for n in (1, 2, 3, 4)]
    found = {split: set(process("driving", split, telemetry_laps=laps)) for split in ("train", "validation", "test")}
    assert found == {"train": {1, 2}, "validation": {3}, "test": {4}}


def test_the_next_lap_by_hand(process: Process) -> None:
    field = [lap(n, driver_id="bob", lap_time_ms=91_000) for n in range(1, 9)]
    rows = process("strategy", laps=[*field, *LAPS])
    row = rows[6]
    assert row["lap_change_ms"] == 100
    # Lap 5 took 90,500 ms; clean laps of the stint before lap 6 are 2 to 5; the field's median on lap 5 is 90,750.
    assert row["previous_minus_stint_ms"] == pytest.approx(90_500 - 90_350)
    assert row["previous_minus_last_5_ms"] == pytest.approx(90_500 - 90_350)
    assert row["previous_minus_last_3_ms"] == pytest.approx(90_500 - 90_400)
    assert row["previous_minus_field_ms"] == pytest.approx(90_500 - 90_750)
    assert {n for n, r in rows.items() if r["lap_change_eligible"]} == {3, 4, 5, 6, 7, 8}


def features(rows: Mapping[int, Row], model: str) -> dict[int, Row]:
    return {n: {name: row[name] for name in ENTRIES[model].features} for n, row in rows.items()}


@pytest.mark.parametrize(
    ("model", "suite", "column", "value"),
    [
        ("fuel_consumption", "fuel", "fuel_used_kg", 9.0),
        ("fuel_consumption", "fuel", "interval_ahead_ms", 100),
        ("brake_bias", "brakes", "front_brake_bias_pct", 60.0),
        ("driving_style", "driving", "lift_coast_m_total", 500.0),
        ("driving_style", "driving", "full_throttle_frac", 0.9),
        ("driving_style", "driving", "lap_time_ms", 110_000),
        ("next_lap", "strategy", "lap_time_ms", 95_000),
    ],
)
def test_how_a_lap_ends_is_in_no_feature_of_it_or_of_any_lap_before(
    process: Process, model: str, suite: str, column: str, value: float
) -> None:
    tables: dict[str, list[Row]] = {
        "laps": LAPS,
        "car_laps": CAR,
        "telemetry_laps": [telemetry(n) for n in range(1, 9)],
    }
    needed = {name: tables[name] for name in strategy_suites()[suite].needs}
    (holder,) = [name for name, rows in needed.items() if column in rows[0]]
    changed = {
        **needed,
        holder: [row | ({column: value} if row["lap_number"] == 5 else {}) for row in needed[holder]],
    }
    before, after = (features(process(suite, **some), model) for some in (needed, changed))
    differing = {n for n in before if before[n] != after[n]}
    assert differing, "it is a feature of later laps"
    assert min(differing) == 6
