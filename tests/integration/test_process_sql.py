"""The process SQL on BigQuery's protocol: what its columns mean, and that no feature knows how its lap ends."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pytest
from google.cloud import bigquery

from composer.local.bigquery.testing import running_bigquery
from composer.local.lap_tables import staging
from composer.local.laps import emulator_client
from f1_training.data.lap_columns import LAP_COLUMNS, SPLIT_COLUMN, ColumnType
from f1_training.data.simulator import SeasonSet, simulate
from f1_training.data.suite import strategy_suites
from trainer.contract.catalogue import read_catalogue

pytestmark = pytest.mark.timeout(400)

ENTRY = read_catalogue().entry("tire_degradation")
KEYS = ("race_id", "driver_id", "lap_number")
Row = dict[str, Any]
Process = Callable[[list[Row] | pa.Table, str], dict[tuple[Any, ...], Row]]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bigquery.Client]:
    with running_bigquery(tmp_path_factory.mktemp("warehouse")) as warehouse:
        yield emulator_client(warehouse.rest)


@pytest.fixture
def process(client: bigquery.Client) -> Process:
    """Runs the SQL over given laps; the rows of the result by key."""

    def run(laps: list[Row] | pa.Table, split: str = "all") -> dict[tuple[Any, ...], Row]:
        table = laps if isinstance(laps, pa.Table) else as_table(laps)
        with staging(client, f"scratch_{uuid.uuid4().hex[:8]}") as stage:
            stage.upload("laps", table)
            stage.process(strategy_suites()["strategy"], split, "processed")
            rows = stage.rows("processed").to_pylist()
        return {tuple(row[key] for key in KEYS): row for row in rows}

    return run


def as_table(laps: list[Row]) -> pa.Table:
    types = {**LAP_COLUMNS, SPLIT_COLUMN: ColumnType.STRING}
    return pa.table({name: pa.array([lap[name] for lap in laps], kind.arrow) for name, kind in types.items()})


def a_lap(lap_number: int, **changed: Any) -> Row:
    """A clean lap of a dry race on medium tyres, third of the field; ``changed`` says what is different."""
    lap: Row = {
        "race_id": "2023_R01_alder", "season": 2023, "circuit_id": "alder", "driver_id": "ann", "split": "train",
        "lap_number": lap_number, "lap_time_ms": 90_000, "clean_lap": lap_number > 1, "race_wet_share": 0.0,
        "position": 3, "order_at_line": 3, "interval_ahead_ms": 1500, "line_gap_any_car_ms": 1200,
        "compound": "MEDIUM", "compound_pirelli": "C3", "tire_age": lap_number, "fresh_tyre": True, "stint": 1,
        "scheduled_laps": 20, "course_length_km": 5.1, "turns": 14, "circuit_type": "RACE",
        "pole_time_ms": 85_000, "quali_best_ms": 85_750, "grid_position": 4,
    }  # fmt: skip
    assert changed.keys() <= lap.keys()
    return lap | changed


def a_race(laps: int = 12, **changed: Any) -> list[Row]:
    """Laps of one driver, each 100 ms slower than the one before: 90,100 ms for lap 1."""
    return [a_lap(n, **{"lap_time_ms": 90_000 + 100 * n, **changed}) for n in range(1, laps + 1)]


def features(row: Mapping[str, Any]) -> Row:
    return {name: row[name] for name in ENTRY.features}


def test_features_of_a_lap_computed_by_hand(process: Process) -> None:
    laps = [
        a_lap(1, position=5, order_at_line=5, interval_ahead_ms=900, line_gap_any_car_ms=700),
        a_lap(2, position=4, order_at_line=4, interval_ahead_ms=2300, line_gap_any_car_ms=1100),
        a_lap(3, fresh_tyre=False, tire_age=6, compound="SOFT", compound_pirelli="C5", stint=2, circuit_type="STREET"),
    ]
    row = process(laps, "all")["2023_R01_alder", "ann", 3]
    assert features(row) == {
        "tire_age_laps": 6, "stint": 2, "fresh_tyre": 0,
        "compound_soft": 1, "compound_medium": 0, "compound_hard": 0, "compound_softness": 5.0,
        "lap_number": 3, "race_laps": 20, "fuel_fraction": pytest.approx(1 - 2.5 / 20),
        "previous_position": 4, "previous_interval_ahead_ms": 2300, "previous_line_gap_ms": 1100,
        "grid_position": 4, "course_km": 5.1, "turns": 14, "street_circuit": 1,
        "pole_time_ms": 85_000, "quali_gap_ms": 750,
    }  # fmt: skip
    assert (row["season"], row["circuit_id"]) == (2023, "alder")


def test_the_target_is_the_deviation_from_the_median_of_the_drivers_clean_laps(process: Process) -> None:
    laps = [*a_race(11), a_lap(12, lap_time_ms=200_000, clean_lap=False), a_lap(13, lap_time_ms=None)]
    laps += a_race(12, driver_id="bob")
    rows = process(laps, "all")
    # Ann's clean laps are 2 to 11 (13 has no time): median of 90,200 .. 91,100 is 90,650. Bob's are 2 to 12: 90,700.
    assert rows["2023_R01_alder", "ann", 2]["lap_delta_ms"] == -450.0
    assert rows["2023_R01_alder", "ann", 12]["lap_delta_ms"] == 109_350.0
    assert rows["2023_R01_alder", "ann", 13]["lap_delta_ms"] is None
    assert rows["2023_R01_alder", "bob", 7]["lap_delta_ms"] == 0.0


@pytest.mark.parametrize(
    ("changed", "laps", "eligible"),
    [
        ({}, 11, set(range(2, 12))),
        ({}, 10, set()),  # nine clean laps make no median worth the name
        ({"race_wet_share": 0.05}, 11, set()),
        ({"race_wet_share": None}, 11, set()),
        ({"lap_time_ms": None}, 11, set()),
    ],
    ids=["ten clean laps", "nine clean laps", "wet race", "unknown weather", "no times"],
)
def test_only_clean_dry_laps_of_enough_are_eligible(
    process: Process, changed: Row, laps: int, eligible: set[int]
) -> None:
    rows = process(a_race(laps, **changed), "all")
    assert {row["lap_number"] for row in rows.values() if row["lap_delta_eligible"]} == eligible
    assert all(isinstance(row["lap_delta_eligible"], bool) for row in rows.values())
    assert {row["dry_race"] for row in rows.values()} == {changed.get("race_wet_share", 0.0) == 0.0}


def test_lags_stay_within_one_driver_and_one_race(process: Process) -> None:
    laps = [
        lap
        for race in ("2023_R01_alder", "2023_R02_brine")
        for driver in ("ann", "bob")
        for lap in (a_lap(1, race_id=race, driver_id=driver, grid_position=9), a_lap(2, race_id=race, driver_id=driver))
    ]
    rows = process(list(reversed(laps)), "all")
    first = [row for row in rows.values() if row["lap_number"] == 1]
    assert len(first) == 4
    for row in first:
        assert (row["previous_interval_ahead_ms"], row["previous_line_gap_ms"]) == (None, None)
        assert row["previous_position"] == 9  # the grid


@pytest.mark.parametrize(
    ("order", "interval", "line_gap", "expected"),
    [(1, None, 800, (60_000, 800)), (2, 75_000, 61_000, (60_000, 60_000)), (None, None, None, (None, None))],
    ids=["leader in free air", "far away", "not timed"],
)
def test_gaps_say_no_more_than_free_air(
    process: Process, order: int | None, interval: int | None, line_gap: int | None, expected: tuple[int | None, ...]
) -> None:
    before = a_lap(1, order_at_line=order, interval_ahead_ms=interval, line_gap_any_car_ms=line_gap)
    row = process([before, a_lap(2)], "all")["2023_R01_alder", "ann", 2]
    assert (row["previous_interval_ahead_ms"], row["previous_line_gap_ms"]) == expected


def test_softness_follows_pirellis_scale_through_the_change_of_names(process: Process) -> None:
    scale = {
        "C1": 1.0, "C2": 2.0, "C3": 3.0, "C4": 4.0, "C5": 5.0, "C6": 6.0, "HARD": 1.0, "MEDIUM": 2.0, "SOFT": 3.0,
        "SUPERSOFT": 3.5, "ULTRASOFT": 4.0, "HYPERSOFT": 5.0, "INTERMEDIATE": None, "WET": None, "UNKNOWN": None,
    }  # fmt: skip
    names = list(scale)
    rows = process([a_lap(n, compound_pirelli=name) for n, name in enumerate(names, start=1)], "all")
    assert {names[row["lap_number"] - 1]: row["compound_softness"] for row in rows.values()} == scale


OUTCOMES: dict[str, Any] = {
    "lap_time_ms": 95_555,
    "position": 19,
    "order_at_line": 1,
    "interval_ahead_ms": 12_345,
    "line_gap_any_car_ms": 2345,
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_how_a_lap_ends_is_in_no_feature_of_it_or_of_any_lap_before(process: Process, outcome: str) -> None:
    laps = [*a_race(12), *a_race(12, driver_id="bob")]
    before = process(laps, "all")
    changed = [
        lap | ({outcome: OUTCOMES[outcome]} if (lap["driver_id"], lap["lap_number"]) == ("ann", 6) else {})
        for lap in laps
    ]
    after = process(changed, "all")
    differing = {(key[1], key[2]) for key in before if features(before[key]) != features(after[key])}
    assert differing == (set() if outcome == "lap_time_ms" else {("ann", 7)})


@pytest.mark.parametrize(("column", "value"), [("race_wet_share", 0.04), ("clean_lap", False)])
def test_hindsight_is_in_no_feature(process: Process, column: str, value: object) -> None:
    before = process(a_race(12), "all")
    after = process(a_race(12, **{column: value}), "all")
    assert {k: features(v) for k, v in before.items()} == {k: features(v) for k, v in after.items()}


def test_flags_and_target_are_not_features() -> None:
    flags = {"lap_time_ms", "lap_delta_ms", "lap_delta_eligible", "clean_lap", "dry_race", "season", "driver_id"}
    assert not flags & set(ENTRY.features)


def test_the_splits_are_the_parts_of_all_laps(process: Process) -> None:
    laps = simulate(SeasonSet(seasons=3, races_per_season=1, drivers=3))
    parts = {split: process(laps, split) for split in ("train", "validation", "test")}
    assert {row["season"] for row in parts["test"].values()} == {2023}
    together = {key: row for part in parts.values() for key, row in part.items()}
    assert len(together) == sum(map(len, parts.values())) == laps.num_rows
    assert together == process(laps, "all")
    assert process(laps, "nobody") == {}


def test_every_column_of_the_catalogue_is_there_and_numeric(process: Process, client: bigquery.Client) -> None:
    with staging(client, "scratch_schema") as stage:
        stage.upload("laps", as_table(a_race(2)))
        stage.process(strategy_suites()["strategy"], "all", "processed")
        schema = stage.rows("processed").schema
    for name in (*ENTRY.features, ENTRY.target):
        assert pa.types.is_integer(schema.field(name).type) or pa.types.is_floating(schema.field(name).type), name
    assert pa.types.is_boolean(schema.field(ENTRY.eligible).type)
    assert {ENTRY.group, *ENTRY.keys} <= set(schema.names)
