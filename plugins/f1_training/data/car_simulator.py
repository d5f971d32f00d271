"""What only the team measures, simulated from laps: fuel burnt on a lap, and the brake bias that a driver has set.

No public feed has either, so models of them are trained on simulated targets, and say so. Whoever has measurements
lands them as ``car_laps.parquet``; nothing is simulated for their races. The physics of a lap:

    fuel_used_kg         = distance * rate * corners * mass * slipstream * pace + management + noise
    front_brake_bias_pct = 56 + corners + fuel + tyres + compound + walls + driver + noise

* rate: 105 kg last 305 km. corners: each corner a km beyond 3.2 costs 4 % more fuel, as it is left with full throttle.
  mass: 0.03 % more for each kg on board. slipstream: up to 3 % less within 2.5 s of the car ahead at the start of the
  lap. pace: laps that are not clean (safety car, pits) burn 55 %.
* management: what the pit wall asks for, 0.02 kg standard deviation a stint. noise: 0.03 kg.
* corners: 0.3 points to the front for each a km beyond 3.2. fuel: a full tank loads the rear, 1.5 points to the rear
  against an empty one. tyres: the rear wears first, 0.03 points to the front a lap of age. compound: 0.2 points to the
  front a step of softness from C3. walls: 0.4 points to the rear on street circuits, where a locked front wheel ends in
  one. driver: 0.4 points standard deviation a driver and race. noise: 0.25 points.

Noise cannot be predicted: no model of these targets has a mean absolute error below sqrt(2/pi) of its standard
deviation, 0.0239 kg and 0.199 points.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Columns of laps that the physics looks at.
LAP_INPUTS = (
    "race_id",
    "driver_id",
    "lap_number",
    "scheduled_laps",
    "course_length_km",
    "turns",
    "circuit_type",
    "compound_pirelli",
    "tire_age",
    "stint",
    "interval_ahead_ms",
    "clean_lap",
)
SIMULATED = "simulated"
SEED = 20

FUEL_KG_PER_KM = 105.0 / 305.0
FUEL_KG = 105.0
USUAL_CORNERS_PER_KM = 3.2
CORNER_SHARE = 0.04
MASS_SHARE_PER_KG = 0.0003
SLIPSTREAM_SHARE, SLIPSTREAM_REACH_MS = 0.03, 2500.0
SLOW_LAP_SHARE = 0.55
MANAGEMENT_KG, FUEL_NOISE_KG = 0.02, 0.03

NOMINAL_BIAS_PCT = 56.0
CORNER_PCT, FUEL_PCT, AGE_PCT, SOFTNESS_PCT, STREET_PCT = 0.3, -1.5, 0.03, 0.2, -0.4
DRIVER_PCT, BIAS_NOISE_PCT = 0.4, 0.25

#: The least mean absolute error that a model can have: of a normal distribution about its mean.
FUEL_FLOOR_KG = math.sqrt(2 / math.pi) * FUEL_NOISE_KG
BIAS_FLOOR_PCT = math.sqrt(2 / math.pi) * BIAS_NOISE_PCT


def simulate_car(laps: pa.Table) -> pa.Table:
    """``race_id``, ``driver_id``, ``lap_number``, ``fuel_used_kg``, ``front_brake_bias_pct``, ``origin``: a row a lap.

    ``laps`` has the columns :data:`LAP_INPUTS` of whole races, in any order. Every race has its own generator, so the
    same race gives the same rows whatever else is there.
    """
    races = list(_by_race(laps))
    if not races:
        return _table(laps.slice(0, 0), np.empty(0), np.empty(0))
    return pa.concat_tables([_race(race) for race in races])


def _by_race(laps: pa.Table) -> Iterator[pa.Table]:
    ordered = laps.select(LAP_INPUTS).sort_by([(name, "ascending") for name in ("race_id", "driver_id", "lap_number")])
    if not ordered.num_rows:
        return
    ends = pc.run_end_encode(ordered["race_id"].combine_chunks().cast(pa.string())).run_ends.to_pylist()
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        yield ordered.slice(begin, end - begin)


def _race(laps: pa.Table) -> pa.Table:
    """One race, in order of driver and lap."""
    generator = np.random.default_rng([SEED, zlib.crc32(laps["race_id"][0].as_py().encode())])
    driver = _runs(laps, "driver_id")
    return _table(laps, _fuel(laps, driver, generator), _bias(laps, driver, generator))


def _fuel(laps: pa.Table, driver: NDArray[np.int64], generator: Generator) -> Floats:
    km = _numbers(laps, "course_length_km")
    share = 1 + CORNER_SHARE * (_numbers(laps, "turns") / km - USUAL_CORNERS_PER_KM)
    share *= 1 + MASS_SHARE_PER_KG * FUEL_KG * (_fuel_fraction(laps) - 0.5)
    ahead = np.full(laps.num_rows, np.inf)
    ahead[1:] = np.where(driver[1:] == driver[:-1], _numbers(laps, "interval_ahead_ms")[:-1], np.inf)
    # The leader's interval is 0 or null, and there is nobody to follow.
    ahead = np.where((ahead > 0) & ~np.isnan(ahead), ahead, np.inf)
    share *= 1 - SLIPSTREAM_SHARE * np.clip(1 - ahead / SLIPSTREAM_REACH_MS, 0, 1)
    clean = np.asarray(pc.fill_null(laps["clean_lap"], False).combine_chunks().to_numpy(zero_copy_only=False), bool)
    share *= np.where(clean, 1.0, SLOW_LAP_SHARE)
    stints = driver * 100 + np.nan_to_num(_numbers(laps, "stint")).astype(np.int64)
    asked = generator.normal(0, MANAGEMENT_KG, len(np.unique(stints)))[np.unique(stints, return_inverse=True)[1]]
    return np.asarray(km * FUEL_KG_PER_KM * share + asked + generator.normal(0, FUEL_NOISE_KG, len(km)))


def _bias(laps: pa.Table, driver: NDArray[np.int64], generator: Generator) -> Floats:
    corners = _numbers(laps, "turns") / _numbers(laps, "course_length_km") - USUAL_CORNERS_PER_KM
    street = np.array([kind == "STREET" for kind in laps["circuit_type"].to_pylist()], np.float64)
    bias = NOMINAL_BIAS_PCT + CORNER_PCT * corners + FUEL_PCT * _fuel_fraction(laps) + STREET_PCT * street
    bias += AGE_PCT * np.nan_to_num(_numbers(laps, "tire_age")) + SOFTNESS_PCT * (_softness(laps) - 3)
    bias += generator.normal(0, DRIVER_PCT, driver[-1] + 1)[driver]
    return np.asarray(bias + generator.normal(0, BIAS_NOISE_PCT, laps.num_rows))


def _fuel_fraction(laps: pa.Table) -> Floats:
    """The share of the fuel that is on board in the middle of the lap."""
    return np.asarray(1 - (_numbers(laps, "lap_number") - 0.5) / _numbers(laps, "scheduled_laps"))


def _softness(laps: pa.Table) -> Floats:
    """1 (C1) to 6 (C6); in the middle where the compound has no number, as on a wet track or in 2018."""
    names = (str(name) for name in laps["compound_pirelli"].to_pylist())
    return np.array([float(name[1]) if name[:1] == "C" and name[1:].isdecimal() else 3.0 for name in names])


def _runs(laps: pa.Table, name: str) -> NDArray[np.int64]:
    """(rows,) 0 for the first value of a sorted column, 1 for the next, and so on."""
    values = np.asarray(laps[name].to_pylist(), dtype=object)
    return np.concatenate([[0], np.cumsum(values[1:] != values[:-1])]).astype(np.int64)


def _numbers(laps: pa.Table, name: str) -> Floats:
    """(rows,) NaN where null."""
    return np.asarray(laps[name].cast(pa.float64()).combine_chunks().to_numpy(zero_copy_only=False), np.float64)


def _table(laps: pa.Table, fuel: Floats, bias: Floats) -> pa.Table:
    columns = {name: laps[name] for name in ("race_id", "driver_id", "lap_number")}
    measured = {"fuel_used_kg": fuel, "front_brake_bias_pct": bias}
    columns |= {name: pa.array(np.round(values, 4), from_pandas=True) for name, values in measured.items()}
    return pa.table(columns | {"origin": pa.repeat(pa.scalar(SIMULATED), len(fuel))})
