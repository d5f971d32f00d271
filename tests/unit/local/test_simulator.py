"""The season simulator: deterministic, complete, and with the physics that it says it has."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from f1_training.data.lap_columns import LAP_COLUMNS, SPLIT_COLUMN
from f1_training.data.simulator import CIRCUITS, FUEL_KG, FUEL_MS_PER_KG, SeasonSet, fuel_ms, simulate, tyre_ms

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def laps() -> pa.Table:
    return simulate(SeasonSet())


def column(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table[name].to_numpy())


def test_the_same_seed_gives_the_same_laps_and_another_seed_others(laps: pa.Table) -> None:
    assert simulate(SeasonSet()).equals(laps)
    assert not simulate(SeasonSet(seed=8))["lap_time_ms"].equals(laps["lap_time_ms"])


def test_it_makes_a_whole_data_set_in_the_columns_that_are_needed(laps: pa.Table) -> None:
    assert 40_000 <= laps.num_rows <= 60_000
    assert {name: laps.schema.field(name).type for name in LAP_COLUMNS} == {k: v.arrow for k, v in LAP_COLUMNS.items()}
    assert laps.column_names[-1] == SPLIT_COLUMN
    seasons = laps.group_by(["split"]).aggregate([("season", "count_distinct")])
    assert dict(zip(*seasons.to_pydict().values(), strict=True)) == {"train": 3, "validation": 1, "test": 1}
    assert len(laps["race_id"].unique()) == 5 * len(CIRCUITS)


def test_a_race_does_not_depend_on_how_many_others_are_simulated(laps: pa.Table) -> None:
    few = simulate(SeasonSet(races_per_season=2))
    same = laps.filter(pc.is_in(laps["race_id"], few["race_id"].unique()))
    assert few.to_pydict() == same.to_pydict()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"seed": -1}, "seed"),
        ({"seasons": 2}, "seasons"),
        ({"races_per_season": 0}, "races"),
        ({"drivers": 1}, "drivers"),
    ],
)
def test_wrong_settings_are_refused_by_name(wrong: dict[str, int], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        SeasonSet(**wrong)


def test_tyres_slow_down_with_age_and_softer_ones_sooner() -> None:
    age = np.arange(1, 40)
    for softness in range(5):
        assert (np.diff(tyre_ms(np.full(39, softness), age, 1.0)) > 0).all()
    assert tyre_ms(np.array([4]), np.array([1]), 1.0) < tyre_ms(np.array([0]), np.array([1]), 1.0)
    assert tyre_ms(np.array([4]), np.array([30]), 1.0) > tyre_ms(np.array([0]), np.array([30]), 1.0)


def test_fuel_costs_29_ms_a_kg_and_is_gone_at_the_end() -> None:
    fuel = fuel_ms(np.arange(1, 51), 50)
    assert np.allclose(np.diff(fuel), -FUEL_MS_PER_KG * FUEL_KG / 50)
    assert 0 < fuel[-1] < FUEL_MS_PER_KG * FUEL_KG / 50


def test_regression_within_driver_races_finds_the_physics_again(laps: pa.Table) -> None:
    dry = laps.filter(laps["clean_lap"])
    group = np.unique(column(dry, "race_id") + column(dry, "driver_id"), return_inverse=True)[1]

    def within(values: np.ndarray) -> np.ndarray:
        return values - (np.bincount(group, values) / np.bincount(group))[group]

    burnt_kg = FUEL_KG * (column(dry, "lap_number") - 0.5) / column(dry, "scheduled_laps")
    x = np.column_stack([within(column(dry, "tire_age").astype(float)), within(burnt_kg)])
    tyre_ms_per_lap, fuel_ms_per_kg = np.linalg.lstsq(x, within(column(dry, "lap_time_ms").astype(float)), rcond=None)[
        0
    ]
    assert 15 < tyre_ms_per_lap < 70
    assert -45 < fuel_ms_per_kg < -20


def test_position_and_gaps_describe_one_field_at_the_line(laps: pa.Table) -> None:
    race = laps.filter(pc.equal(laps["race_id"], laps["race_id"][0]))
    assert set(column(race, "grid_position")) == set(range(1, 21))
    for lap in (1, 20, 40):
        line = race.filter(pc.equal(race["lap_number"], lap)).sort_by("position").to_pydict()
        assert line["position"] == list(range(1, len(line["position"]) + 1))
        assert line["interval_ahead_ms"][0] is None
        assert all(gap >= 0 for gap in line["interval_ahead_ms"][1:])


def test_unclean_laps_are_the_slow_ones(laps: pa.Table) -> None:
    dry = laps.filter(pc.equal(laps["race_wet_share"], 0.0))
    by_flag = dry.group_by("clean_lap").aggregate([("lap_time_ms", "mean"), ("lap_time_ms", "count")]).to_pylist()
    mean = {row["clean_lap"]: row["lap_time_ms_mean"] for row in by_flag}
    assert mean[False] > 1.05 * mean[True]
    assert pc.sum(dry["clean_lap"]).as_py() > 0.8 * dry.num_rows


def test_wet_races_and_laps_without_a_time_are_there_to_be_sorted_out(laps: pa.Table) -> None:
    wet = laps.filter(pc.greater(laps["race_wet_share"], 0.5))
    assert wet.num_rows
    assert not pc.any(wet["clean_lap"]).as_py()
    assert 0 < laps["lap_time_ms"].null_count < 0.01 * laps.num_rows
