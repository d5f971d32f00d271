"""Laps of a season from the FastF1 library, in the columns of the raw tables.

FastF1 needs an older pandas than Airflow brings along, so it may live in an environment of its own: this module is also
a program, which the setting ``data.fastf1_python`` names the interpreter of. It writes a file a race and table:

    python -m f1_training.data.fastf1_source --season 2026 --rounds 1,2 --today 2026-11-27 --into DIR --cache DIR

Timing does not say everything: circuits come from ``circuits.toml``; Pirelli's names of the compounds are not known, so
``compound_pirelli`` is null.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from f1_training.data.lap_columns import LAP_COLUMNS, LAPS
from trainer.contract import FailureReason, TrainingFailure
from trainer.contract.outcome import EXIT_CODES

EXTRA = "f1-training[fastf1]"
FACTS = Path(__file__).parent / "circuits.toml"
SLICKS = ("SOFT", "MEDIUM", "HARD")
WET = ("INTERMEDIATE", "WET")
#: A lap is clean below this many times the race's median.
CLEAN_LIMIT = 1.07
#: Names that the archive writes otherwise.
DRIVERS = {"carlos-sainz": "carlos-sainz-jr", "zhou-guanyu": "guanyu-zhou", "andrea-kimi-antonelli": "kimi-antonelli"}
TEAMS = {"haas-f1-team": "haas", "red-bull-racing": "red-bull", "alfa-romeo-racing": "alfa-romeo"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """One driver of a race, by what results and qualifying say. Times in ms."""

    driver_id: str
    constructor_id: str = ""
    grid_position: int | None = None
    quali_best_ms: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Race:
    """One race; ``drivers`` by their number."""

    race_id: str
    season: int
    round: int
    race_date: str
    grand_prix: str
    circuit_id: str
    scheduled_laps: int | None = None
    drivers: Mapping[str, Driver] = field(default_factory=dict)

    @property
    def pole_time_ms(self) -> int | None:
        """The best time of the qualifying."""
        times = [d.quali_best_ms for d in self.drivers.values() if d.quali_best_ms is not None]
        return min(times, default=None)


@functools.cache
def facts() -> Mapping[str, Any]:
    """Grand prix and circuits."""
    return tomllib.loads(FACTS.read_text(encoding="utf-8"))


def season_tables(
    season: int, rounds: Sequence[int] | None = None, *, cache: Path, today: date
) -> Iterator[tuple[str, pa.Table]]:
    """The laps, the race and the results of each race of ``season`` that was run before ``today``, one race at a time.

    Raises:
        TrainingFailure: ``ConfigInvalid`` when the library is not installed, or there is no such season or round;
            ``NetworkTimeout`` and ``ResourceExhausted`` (too many requests) from its services.
    """
    fastf1 = _library()
    cache.mkdir(parents=True, exist_ok=True)
    fastf1.Cache.enable_cache(str(cache))
    with _Errors(f"season {season}"):
        schedule = fastf1.get_event_schedule(season, include_testing=False)
    events = [event for _, event in schedule.iterrows() if event["EventDate"].date() < today]
    wanted = [event for event in events if rounds is None or int(event["RoundNumber"]) in rounds]
    missing = sorted(set(rounds or ()) - {int(event["RoundNumber"]) for event in wanted})
    if missing or not wanted:
        what = f"rounds {', '.join(map(str, missing))} of {season}" if missing else f"races of {season}"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, f"{what} were not run before {today}")
    for event in wanted:
        with _Errors(f"round {event['RoundNumber']} of {season}"):
            session, results, race = _loaded(fastf1, season, event)
        yield LAPS, laps_table(_columns(session.laps), race)
        yield "races", races_table(race)
        yield "results", results_table(results, race)


def laps_table(laps: Mapping[str, pa.Array], race: Race) -> pa.Table:
    """The rows of ``f1_raw.laps`` from FastF1's columns of laps (durations in ns)."""
    numbers = [str(number) for number in laps["DriverNumber"].to_pylist()]
    drivers = [race.drivers.get(number, Driver(driver_id=f"number-{number}")) for number in numbers]
    lap, end = _whole(laps["LapNumber"]), _ms(laps["Time"])
    time_ms, age = _ms(laps["LapTime"]), _whole(laps["TyreLife"])
    compound = pc.fill_null(laps["Compound"].cast(pa.string()), "UNKNOWN")
    status = laps["TrackStatus"].cast(pa.string())
    pit_in, pit_out = pc.is_valid(laps["PitInTime"]), pc.is_valid(laps["PitOutTime"])
    order, interval, gap = crossings(_floats(lap), _floats(end))
    circuit = facts()["circuits"][race.circuit_id]
    green = pc.fill_null(pc.equal(status, "1"), False)
    accurate = pc.fill_null(laps["IsAccurate"].cast(pa.bool_()), False)
    clean = _all(
        green, accurate, pc.invert(pit_in), pc.invert(pit_out), pc.greater(lap, 1),
        pc.is_in(compound, value_set=pa.array(SLICKS)), pc.is_valid(age),
        pc.less(pc.cast(time_ms, pa.float64()), CLEAN_LIMIT * _median(time_ms)),
    )  # fmt: skip
    rows = len(numbers)
    wet = pc.mean(pc.cast(pc.is_in(compound, value_set=pa.array(WET)), pa.float64())).as_py()
    constants: dict[str, Any] = {
        "race_id": race.race_id, "season": race.season, "round": race.round, "race_date": race.race_date,
        "circuit_id": race.circuit_id, "scheduled_laps": race.scheduled_laps, "course_length_km": float(circuit["km"]),
        "turns": circuit["turns"], "circuit_type": circuit["type"], "pole_time_ms": race.pole_time_ms,
        "race_wet_share": wet, "compound_pirelli": None,
    }  # fmt: skip
    columns: dict[str, Any] = {
        **{name: [value] * rows for name, value in constants.items()},
        "driver_id": [driver.driver_id for driver in drivers],
        "constructor_id": [driver.constructor_id or None for driver in drivers],
        "quali_best_ms": [driver.quali_best_ms for driver in drivers],
        "grid_position": [driver.grid_position for driver in drivers],
        "lap_number": lap, "lap_time_ms": time_ms, "position": _whole(laps["Position"]), "order_at_line": order,
        "interval_ahead_ms": interval, "line_gap_any_car_ms": gap, "compound": compound, "tire_age": age,
        "fresh_tyre": laps["FreshTyre"].cast(pa.bool_()), "stint": _whole(laps["Stint"]), "clean_lap": clean,
        "is_pit_in_lap": pit_in, "is_pit_out_lap": pit_out, "track_status": status, "is_green": green,
        "is_accurate": accurate, **{f"sector{n}_ms": _ms(laps[f"Sector{n}Time"]) for n in (1, 2, 3)},
    }  # fmt: skip
    types = {name: kind.arrow for name, kind in LAP_COLUMNS.items()}
    extra = {"round": pa.int64(), "race_date": pa.string(), "constructor_id": pa.string()}
    known = {**types, **extra}
    return pa.table({name: pa.array(v, known[name]) if isinstance(v, list) else v for name, v in columns.items()})


def crossings(lap: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> tuple[pa.Array, pa.Array, pa.Array]:
    """From lap numbers and the session's time at their ends in ms (NaN where unknown): in which order cars complete a
    lap, ms to the car that completed it just before (null for the first), and ms since any car crossed the line.
    """
    rows = len(lap)
    order, interval, gap = (np.full(rows, np.nan) for _ in range(3))
    for number in np.unique(lap[~np.isnan(lap)]):
        mine = np.flatnonzero((lap == number) & ~np.isnan(end))
        ranked = mine[np.argsort(end[mine], kind="stable")]
        order[ranked] = np.arange(1, len(ranked) + 1)
        interval[ranked[1:]] = np.diff(end[ranked])
    known = np.flatnonzero(~np.isnan(end))
    ranked = known[np.argsort(end[known], kind="stable")]
    gap[ranked[1:]] = np.diff(end[ranked])
    return _nullable(order), _nullable(interval), _nullable(gap)


def races_table(race: Race) -> pa.Table:
    """The row of ``f1_raw.races``."""
    row = {
        "race_id": race.race_id, "season": race.season, "round": race.round, "race_date": race.race_date,
        "grand_prix": race.grand_prix, "circuit_id": race.circuit_id, "scheduled_laps": race.scheduled_laps,
        "pole_time_ms": race.pole_time_ms,
    }  # fmt: skip
    whole = ("season", "round", "scheduled_laps", "pole_time_ms")
    return pa.table({name: pa.array([v], pa.int64() if name in whole else pa.string()) for name, v in row.items()})


def results_table(results: Mapping[str, pa.Array], race: Race) -> pa.Table:
    """The rows of ``f1_raw.results``; the time is known of those that were classified in the leader's lap."""
    numbers = [str(number) for number in results["DriverNumber"].to_pylist()]
    drivers = [race.drivers[number] for number in numbers]
    times, first = _ms(results["Time"]).to_pylist(), None
    finish: list[float | None] = []
    for place, value in enumerate(times):
        # The winner has a time, the others the gap to it.
        first = value if place == 0 else first
        finish.append(None if value is None or first is None else float(value if place == 0 else first + value))
    rows = len(numbers)
    return pa.table(
        {
            "session": ["R"] * rows,
            "race_id": [race.race_id] * rows,
            "season": pa.array([race.season] * rows, pa.int64()),
            "round": pa.array([race.round] * rows, pa.int64()),
            "driver_id": [driver.driver_id for driver in drivers],
            "constructor_id": [driver.constructor_id for driver in drivers],
            "driver_number": pa.array([int(number) for number in numbers], pa.int64()),
            "finish_position": results["ClassifiedPosition"].cast(pa.string()),
            "grid_position": pa.array([None if d.grid_position is None else str(d.grid_position) for d in drivers]),
            "laps_completed": results["Laps"].cast(pa.float64()),
            "finish_time_ms": pa.array(finish, pa.float64()),
        }
    )


def slug(text: str) -> str:
    """``Nico Hülkenberg`` as ``nico-hulkenberg``."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def _loaded(fastf1: Any, season: int, event: Any) -> tuple[Any, Mapping[str, pa.Array], Race]:
    number, name = int(event["RoundNumber"]), str(event["EventName"])
    known = facts()["events"].get(name)
    if known is None:
        message = f"{name} is not in circuits.toml of f1_training.data; add its id and circuit"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    session = fastf1.get_session(season, number, "R")
    session.load(laps=True, telemetry=False, weather=False, messages=False)
    qualifying = fastf1.get_session(season, number, "Q")
    qualifying.load(laps=False, telemetry=False, weather=False, messages=False)
    best = _qualifying(_columns(qualifying.results))
    results = _columns(session.results)
    total = getattr(session, "total_laps", None)
    race = Race(
        race_id=f"{season}_R{number:02d}_{known['id']}",
        season=season,
        round=number,
        race_date=event["EventDate"].date().isoformat(),
        grand_prix=known["id"].replace("_", "-"),
        circuit_id=facts()["locations"].get(str(event["Location"]), known["circuit"]),
        scheduled_laps=None if total is None else int(total),
        drivers=_drivers(results, best),
    )
    return session, results, race


def _drivers(results: Mapping[str, pa.Array], best: Mapping[str, int]) -> dict[str, Driver]:
    found = {}
    grid = _whole(results["GridPosition"]).to_pylist()
    names, teams = results["FullName"].to_pylist(), results["TeamName"].to_pylist()
    for number, name, team, place in zip(results["DriverNumber"].to_pylist(), names, teams, grid, strict=True):
        found[str(number)] = Driver(
            driver_id=DRIVERS.get(slug(name), slug(name)),
            constructor_id=TEAMS.get(slug(team), slug(team)),
            grid_position=place or None,  # 0 is a start from the pit lane
            quali_best_ms=best.get(str(number)),
        )
    return found


def _qualifying(results: Mapping[str, pa.Array]) -> dict[str, int]:
    """Each driver's best time of all parts, by number."""
    parts = [_ms(results[part]).to_pylist() for part in ("Q1", "Q2", "Q3")]
    best = {}
    for number, *times in zip(results["DriverNumber"].to_pylist(), *parts, strict=True):
        known = [time for time in times if time is not None]
        if known:
            best[str(number)] = min(known)
    return best


def _columns(frame: Any) -> dict[str, pa.Array]:
    """A frame of FastF1 as Arrow arrays, missing values as nulls."""
    return {str(name): pa.array(frame[name], from_pandas=True) for name in frame.columns}


def _ms(values: pa.Array) -> pa.Array:
    """A duration as whole ms."""
    if not pa.types.is_duration(values.type):
        return pa.nulls(len(values), pa.int64())
    nanoseconds = _floats(values.cast(pa.duration("ns")).cast(pa.int64()))
    return _nullable(np.round(nanoseconds / 1e6))


def _whole(values: pa.Array) -> pa.Array:
    return _nullable(_floats(values))


def _floats(values: pa.Array) -> npt.NDArray[np.float64]:
    """Numbers as float64, NaN for null."""
    found: npt.NDArray[np.float64] = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return found


def _nullable(values: npt.NDArray[np.float64]) -> pa.Array:
    """Whole numbers as INT64, null for NaN."""
    missing = np.isnan(values)
    return pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing)


def _median(values: pa.Array) -> float:
    known = _floats(values)
    return float(np.nanmedian(known)) if np.any(~np.isnan(known)) else 0.0


def _all(*conditions: pa.Array) -> pa.Array:
    """Whether all hold; what is not known does not."""
    return functools.reduce(pc.and_, (pc.fill_null(condition, False) for condition in conditions))


def _library() -> Any:
    try:
        import fastf1
    except ImportError as e:
        message = (
            f"the source fastf1 needs the library FastF1, which cannot be imported ({e}); install {EXTRA}, or set "
            "data.fastf1_python in the Variable f1_training to the interpreter of an environment that has it"
        )
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e
    return fastf1


class _Errors:
    """Turns what the library raises about ``what`` into reasons; the unknown passes through."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if not isinstance(error, Exception) or isinstance(error, TrainingFailure):
            return
        from requests.exceptions import RequestException

        name, text = type(error).__name__, f"FastF1, {self.what}: {error}"
        if "RateLimit" in name:
            raise TrainingFailure(FailureReason.RESOURCE_EXHAUSTED, text) from error
        # Where none of its services answers, it says so as a ValueError.
        away = isinstance(error, ValueError) and "Failed to load any" in str(error)
        if away or isinstance(error, (RequestException, ConnectionError, TimeoutError)):
            raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, text) from error
        if isinstance(error, ValueError) or name == "DataNotLoadedError":
            raise TrainingFailure(FailureReason.CONFIG_INVALID, text) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what a season's races brought, a file a race and table. Returns the reason's exit code."""
    parser = argparse.ArgumentParser(prog="python -m f1_training.data.fastf1_source", description=__doc__)
    parser.add_argument("--season", type=int, required=True)
    parser.add_argument("--rounds", default="")
    parser.add_argument("--today", type=date.fromisoformat, required=True)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args(arguments)
    rounds = [int(number) for number in options.rounds.split(",")] if options.rounds else None
    options.into.mkdir(parents=True, exist_ok=True)
    try:
        for number, (name, rows) in enumerate(
            season_tables(options.season, rounds, cache=options.cache, today=options.today)
        ):
            pq.write_table(rows, options.into / f"{name}-{options.season}-{number:03d}.parquet")
    except TrainingFailure as e:
        print(f"{e.reason.value}: {e}", file=sys.stderr)  # noqa: T201 - a program's error
        return EXIT_CODES[e.reason]
    return 0


if __name__ == "__main__":
    sys.exit(main())
