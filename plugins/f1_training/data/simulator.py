"""A seeded simulator of Formula 1 seasons: the laps that ``make run`` trains on when nobody brings real ones.

Circuits, drivers and teams are invented; the size of each effect follows what regressions on real dry laps show. The
time of a lap in ms is

    circuit + car and driver + fuel + tyre + track + traffic + management + noise        (a green lap)

* circuit: the time of a perfect lap on low fuel, plus 2 % because nobody races at qualifying pace.
* fuel: 29 ms for each kg on board; 105 kg at the start, burnt linearly over the scheduled distance.
* tyre: each step of softness (C1 to C5) gains 180 ms at once and wears faster; wear is linear in the laps on the set
  (some 15 to 65 ms a lap), with a quadratic cliff past the end of the compound's life.
* track: rubber is laid down; the first laps are up to 400 ms slower than the last ones.
* traffic: within 2.5 s of the car ahead the dirty air costs up to 600 ms.
* management: nobody sees what pace a driver was told to keep; each stint is off by 450 ms standard deviation, and tyres
  wear up to half as much again, or less, from race to race and driver to driver.
* noise: 220 ms standard deviation, and now and then a mistake of about a second.

Standing start, pit stops, safety cars (the field closes up), retirements, a wet race now and then and gaps in the
timing give the laps that a pipeline must sort out. Times are integers of ms, lengths are in km.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.random import Generator
from numpy.typing import NDArray

from f1_training.data.lap_columns import LAP_COLUMNS, SPLIT_COLUMN

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FUEL_MS_PER_KG = 29.0
FUEL_KG = 105.0
SOFTNESS_STEP_MS = 180.0
WEAR_MS_PER_LAP, WEAR_SOFTNESS_MS_PER_LAP = 8.0, 9.0
CLIFF_MS_PER_LAP2 = 6.0
LIFE_LAPS, LIFE_SOFTNESS_LAPS = 44.0, 6.0
EVOLUTION_MS, EVOLUTION_LAPS = 400.0, 15.0
DIRTY_AIR_MS, DIRTY_AIR_REACH_MS = 600.0, 2500.0
MANAGEMENT_MS, WEAR_SPREAD = 450.0, 0.25
NOISE_MS = 220.0
MISTAKE_MS, MISTAKE_CHANCE = 1000.0, 0.01
RACE_PACE = 1.02
START_MS, GRID_SLOT_MS = 4500.0, 180.0
PIT_IN_MS, PIT_OUT_MS = 4500.0, 17500.0
SAFETY_CAR_FACTOR, SAFETY_CAR_SPACING_MS = 1.4, 1000.0
WET_FACTOR, WET_CHANCE = 1.13, 0.06
RETIREMENT_CHANCE = 0.0012
NO_TIME_CHANCE = 0.002
CLEAN_LIMIT = 1.07
COMPOUNDS = np.array(["HARD", "MEDIUM", "SOFT"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Circuit:
    """An invented circuit. ``hardest`` is the number of the hardest Pirelli compound taken there (C1 to C3)."""

    circuit_id: str
    course_km: float
    turns: int
    laps: int
    perfect_ms: float
    street: bool = False
    hardest: int = 2
    abrasion: float = 1.0


CIRCUITS: tuple[Circuit, ...] = (
    Circuit(circuit_id="alder-park", course_km=5.30, turns=16, laps=58, perfect_ms=81_000),
    Circuit(circuit_id="brine-harbour", course_km=3.40, turns=19, laps=76, perfect_ms=71_500, street=True, hardest=3),
    Circuit(circuit_id="cinder-valley", course_km=5.40, turns=15, laps=57, perfect_ms=89_500, hardest=1, abrasion=1.4),
    Circuit(circuit_id="dune-city", course_km=6.10, turns=25, laps=50, perfect_ms=90_000, street=True, abrasion=0.8),
    Circuit(circuit_id="elm-ridge", course_km=4.30, turns=10, laps=70, perfect_ms=65_500, hardest=3),
    Circuit(circuit_id="fen-airfield", course_km=5.90, turns=18, laps=52, perfect_ms=87_000, hardest=1, abrasion=1.2),
    Circuit(circuit_id="granite-hills", course_km=7.00, turns=19, laps=44, perfect_ms=104_500, abrasion=1.1),
    Circuit(circuit_id="heron-lake", course_km=4.40, turns=14, laps=69, perfect_ms=72_000, hardest=3, abrasion=0.9),
    Circuit(circuit_id="iron-straight", course_km=5.80, turns=11, laps=53, perfect_ms=80_500, abrasion=0.8),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SeasonSet:
    """What to simulate: the last season is the test split, the one before it validation, the others train."""

    seed: int = 7
    first_season: int = 2021
    seasons: int = 5
    races_per_season: int = len(CIRCUITS)
    drivers: int = 20

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; 0 or more")
        if self.seasons < 3:
            raise ValueError(f"seasons is {self.seasons}; 3 or more, one for each split")
        if not 1 <= self.races_per_season <= len(CIRCUITS):
            raise ValueError(f"races_per_season is {self.races_per_season}; 1 to {len(CIRCUITS)}")
        if not 2 <= self.drivers <= 40:
            raise ValueError(f"drivers is {self.drivers}; 2 to 40")

    def split(self, season: int) -> str:
        """The split that ``season`` (a year) belongs to."""
        left = self.first_season + self.seasons - 1 - season
        return {0: "test", 1: "validation"}.get(left, "train")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is settled before the lights go out. Arrays are (drivers, laps) unless said otherwise."""

    pace_ms: Floats  # (drivers,) slower than the best car and driver
    quali_ms: Floats  # (drivers,)
    grid: Ints  # (drivers,) from 1
    stint: Ints  # from 1
    age: Ints  # laps on the set, this lap included
    softness: Ints  # 0 hard, 1 medium, 2 soft of the three compounds taken
    fresh: NDArray[np.bool_]
    pit_in: NDArray[np.bool_]
    pit_out: NDArray[np.bool_]
    safety_car: NDArray[np.bool_]  # (laps,)
    running: NDArray[np.bool_]  # False from the lap of the retirement on
    wet: bool


def simulate(settings: SeasonSet) -> pa.Table:
    """Laps of the whole season set, in the columns ``LAP_COLUMNS`` and ``split``; the same bytes for the same settings.

    The default set has 45 races and about 50,000 laps.
    """
    races = list(_races(settings))
    types = {**{name: kind.arrow for name, kind in LAP_COLUMNS.items()}, SPLIT_COLUMN: pa.string()}
    return pa.table({name: pa.chunked_array([race[name] for race in races], kind) for name, kind in types.items()})


def _races(settings: SeasonSet) -> Iterator[Mapping[str, pa.Array]]:
    """Each race as columns. Every race has its own generator: leaving races out does not change the others."""
    for season in range(settings.first_season, settings.first_season + settings.seasons):
        cars = np.random.default_rng([settings.seed, season]).permutation(settings.drivers) // 2
        for number, circuit in enumerate(CIRCUITS[: settings.races_per_season], start=1):
            rng = np.random.default_rng([settings.seed, season, number])
            plan = _plan(rng, circuit, cars)
            race_id = f"{season}_R{number:02d}_{circuit.circuit_id}"
            lap_ms = _race(rng, circuit, plan)
            columns = _columns(circuit, plan, lap_ms, rng.random(lap_ms.shape) < NO_TIME_CHANCE)
            rows = len(columns["lap_number"])
            constants: dict[str, str | float] = {"race_id": race_id, "season": season, "split": settings.split(season)}
            yield {**columns, **{name: _repeat(value, rows) for name, value in constants.items()}}


def _plan(rng: Generator, circuit: Circuit, cars: Ints) -> Plan:
    """Draw qualifying, strategies, safety cars and retirements. ``cars`` (drivers,) ranks the cars from 0."""
    drivers, laps = len(cars), circuit.laps
    pace = (130.0 * cars + rng.normal(0.0, 150.0, drivers)) * circuit.course_km / 5.0
    pace -= pace.min()
    quali = circuit.perfect_ms + pace + np.abs(rng.normal(0.0, 200.0, drivers))
    grid = np.argsort(np.argsort(quali)) + 1
    wet = bool(rng.random() < WET_CHANCE)

    lap = np.arange(1, laps + 1)
    stops = 1 + (rng.random(drivers) < 0.3 + 0.3 * (circuit.abrasion > 1.0)).astype(np.int64)
    share = np.where(stops[:, None] == 1, np.array([0.42, 2.0]), np.array([0.3, 0.63]))
    # Beyond the last lap: no stop. Sorted, as a draw from the tails might put the second stop first.
    stop_lap = np.sort(np.round((share + rng.normal(0.0, 0.06, share.shape)).clip(0.1) * laps), axis=1)
    stint = 1 + (lap > stop_lap[:, :1]).astype(np.int64) + (lap > stop_lap[:, 1:])
    pit_in = (lap == stop_lap[:, :1]) | (lap == stop_lap[:, 1:])
    pit_out = np.roll(pit_in, 1, axis=1)
    pit_out[:, 0] = False

    first = rng.integers(0, 3, drivers)
    sets = np.stack([first, (first + rng.integers(1, 3, drivers)) % 3, rng.integers(0, 3, drivers)], axis=1)
    used = rng.integers(1, 5, (drivers, 3)) * (rng.random((drivers, 3)) < 0.25)
    fitted = np.where(stint == 1, 0, np.where(stint == 2, stop_lap[:, :1], stop_lap[:, 1:]))
    row = np.arange(drivers)[:, None]
    retired = np.cumsum(rng.random((drivers, laps)) < RETIREMENT_CHANCE, axis=1) > 0
    return Plan(
        pace_ms=pace,
        quali_ms=quali,
        grid=grid,
        stint=stint,
        age=(lap - fitted).astype(np.int64) + used[row, stint - 1],
        softness=sets[row, stint - 1],
        fresh=used[row, stint - 1] == 0,
        pit_in=pit_in,
        pit_out=pit_out,
        safety_car=_safety_car(rng, laps),
        running=~retired,
        wet=wet,
    )


def _safety_car(rng: Generator, laps: int) -> NDArray[np.bool_]:
    """(laps,) laps behind the safety car: none to two periods of three to six laps, never on lap 1."""
    behind = np.zeros(laps, dtype=bool)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.45, 0.4, 0.15]))):
        start = int(rng.integers(1, laps - 6))
        behind[start : start + int(rng.integers(3, 7))] = True
    return behind


def tyre_ms(softness: Ints | Floats, age_laps: Ints | Floats, abrasion: float | Floats) -> Floats:
    """What the tyre adds to a lap in ms, against a new C1: ``softness`` 0 (C1) to 4 (C5), ``age_laps`` on the set."""
    wear = (WEAR_MS_PER_LAP + WEAR_SOFTNESS_MS_PER_LAP * softness) * abrasion * age_laps
    past_life = np.clip(age_laps - (LIFE_LAPS - LIFE_SOFTNESS_LAPS * softness) / abrasion, 0.0, 20.0)
    return np.asarray(wear + CLIFF_MS_PER_LAP2 * past_life**2 - SOFTNESS_STEP_MS * softness, dtype=np.float64)


def fuel_ms(lap_number: Ints | Floats, scheduled_laps: int) -> Floats:
    """What the fuel on board in the middle of a lap adds to its time in ms."""
    return np.asarray(FUEL_MS_PER_KG * FUEL_KG * (1.0 - (lap_number - 0.5) / scheduled_laps), dtype=np.float64)


def _race(rng: Generator, circuit: Circuit, plan: Plan) -> Floats:
    """(drivers, laps) lap times in ms. Lap by lap, because traffic depends on where the cars are."""
    drivers, laps = plan.age.shape
    lap = np.arange(1, laps + 1)
    alone = circuit.perfect_ms * RACE_PACE + plan.pace_ms[:, None] + fuel_ms(lap, laps)
    alone += EVOLUTION_MS * np.exp(-(lap - 1) / EVOLUTION_LAPS)
    if plan.wet:
        alone *= WET_FACTOR
    else:
        wear = rng.lognormal(0.0, WEAR_SPREAD) * rng.lognormal(0.0, WEAR_SPREAD, (drivers, 1))
        alone += tyre_ms(plan.softness + circuit.hardest - 1, plan.age, circuit.abrasion * wear)
    alone += rng.normal(0.0, MANAGEMENT_MS, (drivers, 3))[np.arange(drivers)[:, None], plan.stint - 1]
    alone += rng.normal(0.0, NOISE_MS, alone.shape)
    alone += rng.exponential(MISTAKE_MS, alone.shape) * (rng.random(alone.shape) < MISTAKE_CHANCE)
    extra = PIT_IN_MS * plan.pit_in + PIT_OUT_MS * plan.pit_out
    extra[:, 0] += START_MS

    clock = GRID_SLOT_MS * plan.grid.astype(np.float64)
    times = np.empty_like(alone)
    for i in range(laps):
        order = np.argsort(np.where(plan.running[:, i], clock, np.inf), kind="stable")
        gap = np.empty(drivers)
        gap[order] = np.diff(clock[order], prepend=-np.inf)
        now = alone[:, i] + DIRTY_AIR_MS * np.clip(1.0 - gap / DIRTY_AIR_REACH_MS, 0.0, 1.0)
        if plan.safety_car[i]:
            now = _behind_safety_car(now, clock, order)
        times[:, i] = np.round(now + extra[:, i])
        clock = clock + times[:, i]
    return times


def _behind_safety_car(now: Floats, clock: Floats, order: Ints) -> Floats:
    """(drivers,) times in ms of a neutralised lap: all are slow, and those far behind their place in the queue less."""
    queue = np.empty_like(clock)
    queue[order] = clock[order[0]] + SAFETY_CAR_SPACING_MS * np.arange(len(order))
    return np.maximum(now * SAFETY_CAR_FACTOR - (clock - queue), now * 1.1)


def _columns(circuit: Circuit, plan: Plan, lap_ms: Floats, untimed: NDArray[np.bool_]) -> dict[str, pa.Array]:
    """The race's rows as columns, laps of retired cars left out; row order: driver, lap."""
    drivers, laps = lap_ms.shape
    finish = np.where(plan.running, GRID_SLOT_MS * plan.grid[:, None] + np.cumsum(lap_ms, axis=1), np.inf)
    place = np.argsort(np.argsort(finish, axis=0, kind="stable"), axis=0) + 1
    green = ~plan.safety_car[None, :] & ~plan.pit_in & ~plan.pit_out & (np.arange(laps) > 0) & ~untimed
    median = np.median(lap_ms[plan.running])
    clean = green & (lap_ms < CLEAN_LIMIT * median) & (not plan.wet)
    keep = plan.running
    pirelli = np.char.add("C", (plan.softness + circuit.hardest).astype(str))
    names = np.array([f"driver-{i:02d}" for i in range(1, drivers + 1)])
    by_driver = {"quali_best_ms": np.round(plan.quali_ms).astype(np.int64), "grid_position": plan.grid}
    cells: dict[str, NDArray[np.generic]] = {
        "driver_id": np.broadcast_to(names[:, None], lap_ms.shape),
        "lap_number": np.broadcast_to(np.arange(1, laps + 1), lap_ms.shape),
        "position": place,
        "order_at_line": place,
        "compound": np.full(lap_ms.shape, "INTERMEDIATE") if plan.wet else COMPOUNDS[plan.softness],
        "compound_pirelli": np.full(lap_ms.shape, "INTERMEDIATE") if plan.wet else pirelli,
        "tire_age": plan.age,
        "fresh_tyre": plan.fresh,
        "stint": plan.stint,
        "clean_lap": clean,
        **{name: np.broadcast_to(value[:, None], lap_ms.shape) for name, value in by_driver.items()},
    }
    columns = {name: pa.array(value[keep]) for name, value in cells.items()}
    columns["lap_time_ms"] = _nullable(lap_ms, untimed, keep)
    columns["interval_ahead_ms"] = _nullable(_interval_ahead(finish), place == 1, keep)
    columns["line_gap_any_car_ms"] = _line_gap(finish, keep)
    rows = int(keep.sum())
    constants = _constants(circuit, wet=plan.wet) | {"pole_time_ms": int(by_driver["quali_best_ms"].min())}
    return {**columns, **{name: _repeat(value, rows) for name, value in constants.items()}}


def _constants(circuit: Circuit, *, wet: bool) -> dict[str, str | float]:
    """What is the same on every lap of a race."""
    return {
        "circuit_id": circuit.circuit_id,
        "scheduled_laps": circuit.laps,
        "course_length_km": circuit.course_km,
        "turns": circuit.turns,
        "circuit_type": "STREET" if circuit.street else "RACE",
        "race_wet_share": float(wet),
    }


def _interval_ahead(finish: Floats) -> Floats:
    """(drivers, laps) ms to the car that completed the same lap just before; 0 for the first one."""
    order = np.argsort(finish, axis=0, kind="stable")
    ordered = np.where(np.isfinite(finish), finish, 0.0)
    gap = np.diff(np.take_along_axis(ordered, order, axis=0), axis=0, prepend=0.0)
    out = np.empty_like(finish)
    np.put_along_axis(out, order, gap, axis=0)
    out[finish == finish.min(axis=0)] = 0.0
    return out


def _line_gap(finish: Floats, keep: NDArray[np.bool_]) -> pa.Array:
    """ms since any car crossed the line, lapped ones too, for the kept cells; null for the very first crossing."""
    crossings = np.sort(finish[keep])
    place = np.searchsorted(crossings, finish[keep])
    gap = finish[keep] - crossings[np.maximum(place - 1, 0)]
    return pa.array(np.round(gap).astype(np.int64), mask=place == 0)


def _nullable(values: Floats, null: NDArray[np.bool_], keep: NDArray[np.bool_]) -> pa.Array:
    """The kept cells as INT64, null where ``null``."""
    return pa.array(np.round(values[keep]).astype(np.int64), mask=null[keep])


def _repeat(value: str | float, rows: int) -> pa.Array:
    """A column that says the same in every row."""
    return pa.repeat(pa.scalar(value), rows)
