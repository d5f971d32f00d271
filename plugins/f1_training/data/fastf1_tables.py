"""Tables of laps, results and races from what FastF1 loaded, by the conventions of the archived laps."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from f1_training.data import fastf1_names as names
from f1_training.data.lap_columns import LAP_COLUMNS

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

CIRCUITS = Path(__file__).parent / "circuits.toml"
CLEAN_LIMIT = 1.07
PIT_LANE = "PL"
GREEN = "1"
UNKNOWN = "UNKNOWN"
WET = ("INTERMEDIATE", "WET")
SLICKS = ("SOFT", "MEDIUM", "HARD")
#: In 2018 tyres had names of their own, softest first here; a race's three are its SOFT, MEDIUM and HARD.
NAMED_UNTIL = 2018
NAMED = ("HYPERSOFT", "ULTRASOFT", "SUPERSOFT", "SOFT", "MEDIUM", "HARD", "SUPERHARD")
_LAST = np.iinfo(np.int64).max  # sorts behind every time

_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()
LAP_SCHEMA = pa.schema(
    {name: kind.arrow for name, kind in LAP_COLUMNS.items()}
    | {"race_date": _TEXT, "constructor_id": _TEXT, "is_pit_in_lap": _BOOL, "is_pit_out_lap": _BOOL}
    | {"track_status": _TEXT, "sector1_ms": _INT, "sector2_ms": _INT, "sector3_ms": _INT}
)
RACE_SCHEMA = pa.schema(
    {"race_id": _TEXT, "season": _INT, "round": _INT, "race_date": _TEXT, "grand_prix": _TEXT, "circuit_id": _TEXT}
    | {"scheduled_laps": _INT, "pole_time_ms": _INT}
)
RESULT_SCHEMA = pa.schema(
    {"session": _TEXT, "season": _INT, "round": _INT, "race_id": _TEXT, "driver_id": _TEXT, "constructor_id": _TEXT}
    | {"driver_number": _INT, "finish_position": _TEXT, "grid_position": _TEXT}
    | {"laps_completed": _FLOAT, "finish_time_ms": _FLOAT}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Race:
    """A race as FastF1 has it. ``results`` and ``laps`` are its own tables; ``quali_ms`` is by driver number."""

    race_id: str
    season: int
    round: int
    race_date: str
    grand_prix: str
    circuit_id: str
    scheduled_laps: int | None
    turns: int | None
    quali_ms: Mapping[str, int]
    results: Any
    laps: Any

    @property
    def pole_time_ms(self) -> int | None:
        """The fastest time of the whole qualifying, as in the archive."""
        return min(self.quali_ms.values(), default=None)


@functools.cache
def circuits() -> Mapping[str, Mapping[str, Any]]:
    """Length in km, number of turns and type of each circuit."""
    found: Mapping[str, Mapping[str, Any]] = tomllib.loads(CIRCUITS.read_text(encoding="utf-8"))["circuits"]
    return found


def quali_best_ms(results: Any) -> dict[str, int]:
    """Best time of Q1 to Q3 in ms by driver number; drivers without one are left out."""
    times = {number: [_time_ms(row[part]) for part in ("Q1", "Q2", "Q3")] for number, row in results.iterrows()}
    return {number: min(ms for ms in best if ms) for number, best in times.items() if any(best)}


def race_table(race: Race) -> pa.Table:
    """One row of ``races``."""
    return pa.Table.from_pylist([{name: getattr(race, name) for name in RACE_SCHEMA.names}], RACE_SCHEMA)


def results_table(race: Race) -> pa.Table:
    """One row of ``results`` a driver, in the order of the classification."""
    drivers = list(race.results.iterrows())
    winner_ms = next((ms for _, row in drivers if row["Position"] == 1 and (ms := _time_ms(row["Time"]))), 0)
    rows = []
    for number, row in drivers:
        time_ms = _time_ms(row["Time"])
        # The winner's time is whole, the others' are gaps to it.
        finish_ms = time_ms and float(time_ms if time_ms >= winner_ms else winner_ms + time_ms)
        rows.append(
            {
                "session": "R",
                "season": race.season,
                "round": race.round,
                "race_id": race.race_id,
                "driver_id": _driver_id(number, row),
                "constructor_id": _constructor_id(row),
                "driver_number": int(number),
                "finish_position": names.finish_position(_text(row["ClassifiedPosition"])) or None,
                "grid_position": _grid(row),
                "laps_completed": _known(row["Laps"]),
                "finish_time_ms": finish_ms,
            }
        )
    return pa.Table.from_pylist(rows, RESULT_SCHEMA)


def laps_table(race: Race) -> pa.Table:
    """The laps in the columns of ``LAP_COLUMNS`` and those optional ones that FastF1 knows; row order: driver, lap."""
    laps, circuit = race.laps, circuits().get(race.circuit_id, {})
    numbers = list(laps["DriverNumber"])
    drivers = {number: row for number, row in race.results.iterrows() if number in set(numbers)}
    columns = _timing(race.season, laps) | {
        name: [value] * len(numbers)
        for name, value in {
            **{name: getattr(race, name) for name in ("race_id", "season", "circuit_id", "race_date")},
            **{name: getattr(race, name) for name in ("scheduled_laps", "pole_time_ms")},
            "course_length_km": circuit.get("km"),
            "circuit_type": circuit.get("type"),
            "turns": race.turns if race.turns is not None else circuit.get("turns"),
        }.items()
    }
    by_driver: dict[str, Mapping[str, Any]] = {
        "driver_id": {number: _driver_id(number, row) for number, row in drivers.items()},
        "constructor_id": {number: _constructor_id(row) for number, row in drivers.items()},
        # Without a place on the grid, 0 to Ergast, a car starts from the pit lane.
        "grid_position": {number: int(_known(row["GridPosition"]) or 0) or None for number, row in drivers.items()},
        "quali_best_ms": race.quali_ms,
    }
    columns |= {name: [values.get(number) for number in numbers] for name, values in by_driver.items()}
    return pa.table([pa.array(columns[field.name], field.type) for field in LAP_SCHEMA], schema=LAP_SCHEMA)


def _timing(season: int, laps: Any) -> dict[str, Any]:
    """The columns that follow from the timing alone."""
    named = [_text(name) for name in laps["Compound"]]
    compound = _compounds(season, named)
    status = [_text(value) or None for value in laps["TrackStatus"]]
    lap_number, end_ms = laps["LapNumber"].to_numpy(np.int64), _ms(laps["Time"])
    lap_ms, tire_age = _ms(laps["LapTime"]), _whole(laps["TyreLife"])
    pit_in, pit_out = (~np.ma.getmaskarray(_ms(laps[name])) for name in ("PitInTime", "PitOutTime"))
    green = np.array([value == GREEN for value in status]) & laps["IsAccurate"].to_numpy(bool) & ~pit_in & ~pit_out
    slick = np.isin(compound, SLICKS) & ~np.ma.getmaskarray(tire_age)
    order, interval_ms = _order(lap_number, end_ms)
    return {
        "lap_number": lap_number,
        "lap_time_ms": lap_ms,
        "position": _whole(laps["Position"]),
        "order_at_line": order,
        "interval_ahead_ms": interval_ms,
        "line_gap_any_car_ms": _gap(end_ms, np.argsort(end_ms.filled(_LAST), kind="stable")),
        "compound": compound,
        "compound_pirelli": [_pirelli(season, *both) for both in zip(named, compound, strict=True)],
        "tire_age": tire_age,
        "fresh_tyre": laps["FreshTyre"].to_numpy(bool),
        "stint": _whole(laps["Stint"]),
        "race_wet_share": np.full(len(lap_number), np.isin(compound, WET).mean()),
        "clean_lap": _clean(green & slick & (lap_number > 1), lap_ms),
        "is_pit_in_lap": pit_in,
        "is_pit_out_lap": pit_out,
        "track_status": status,
        **{f"sector{i}_ms": _ms(laps[f"Sector{i}Time"]) for i in (1, 2, 3)},
    }


def _clean(candidates: Bools, lap_ms: Any) -> Bools:
    """Of the green laps on slick tyres those that are timed, and not far above the median of them all."""
    timed = candidates & ~np.ma.getmaskarray(lap_ms)
    if not timed.any():
        return timed
    return timed & (lap_ms.filled(0) < CLEAN_LIMIT * np.median(lap_ms.data[timed]))


def _order(lap_number: Ints, end_ms: Any) -> tuple[Ints, Any]:
    """Place among the cars that complete the same lap, and ms to the one before; masked for the first."""
    by_lap = np.lexsort((end_ms.filled(_LAST), lap_number))
    first = np.diff(lap_number[by_lap], prepend=-1) != 0
    starts = np.flatnonzero(first)
    order = np.empty(len(by_lap), np.int64)
    order[by_lap] = np.arange(len(by_lap)) - np.repeat(starts, np.diff(starts, append=len(by_lap))) + 1
    return order, np.ma.masked_where(order == 1, _gap(end_ms, by_lap))


def _gap(end_ms: Any, order: Ints) -> Any:
    """Ms from the row before in ``order``; masked for the first one, and where either has no time."""
    timed = ~np.ma.getmaskarray(end_ms)[order]
    gap, mask = np.zeros(len(order), np.int64), np.ones(len(order), np.bool_)
    gap[order[1:]] = np.diff(end_ms.filled(0)[order])
    mask[order[1:]] = ~(timed[1:] & timed[:-1])
    return np.ma.array(gap, mask=mask)


def _compounds(season: int, named: Sequence[str]) -> list[str]:
    """What each set is in this race: SOFT, MEDIUM, HARD, INTERMEDIATE, WET or UNKNOWN."""
    slicks = dict(zip(SLICKS, SLICKS, strict=True))
    if season == NAMED_UNTIL:
        slicks = dict(zip([name for name in NAMED if name in named], SLICKS, strict=False))
    return [slicks.get(name, name if name in WET else UNKNOWN) for name in named]


def _pirelli(season: int, named: str, compound: str) -> str | None:
    """The set's name on Pirelli's own scale; None for a slick tyre after 2018."""
    if compound not in SLICKS:
        return compound
    return named if season == NAMED_UNTIL else None


def _driver_id(number: str, row: Any) -> str:
    """From the name; from the number where not even that is known."""
    return names.driver_id(f"{_text(row['FirstName'])} {_text(row['LastName'])}") or f"driver-{number}"


def _constructor_id(row: Any) -> str | None:
    return names.constructor_id(_text(row["TeamName"])) or None


def _grid(row: Any) -> str | None:
    """``PL`` for a start from the pit lane, which Ergast calls place 0."""
    place = _known(row["GridPosition"])
    return None if place is None else str(int(place)) if place else PIT_LANE


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value not in ("nan", "None") else ""


def _known(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def _time_ms(value: Any) -> int | None:
    """A Timedelta in ms; None for NaT."""
    return None if value is None or value != value else round(value.total_seconds() * 1000)


def _ms(column: Any) -> Any:
    """Timedeltas as a masked array of whole ms."""
    values = column.astype("timedelta64[ns]").to_numpy()
    return np.ma.array(values.astype("timedelta64[ms]").astype(np.int64), mask=np.isnat(values))


def _whole(column: Any) -> Any:
    """Floats as a masked array of integers; NaN is masked."""
    values = column.to_numpy(np.float64)
    return np.ma.array(np.nan_to_num(values).astype(np.int64), mask=np.isnan(values))
