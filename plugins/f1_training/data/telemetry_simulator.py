"""A seeded simulator of test days: how 20 drivers use their pedals, aggregated a lap, as ``telemetry_laps``.

A driver is told to save, to drive as usual, or to push, and mostly told the same on the next lap. Pushing wears the
tyres, so it gets rarer with their age; whoever has pushed for three laps is told to cool them. What is told moves the
pedals, with noise of its own: metres of lift and coast, the share of the lap at full throttle, coasting and braking,
how quickly the throttle is opened, and the lap time. Out laps, in laps and laps with a gap in the telemetry are not
clean.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.random import Generator
from numpy.typing import NDArray

Ints = NDArray[np.int64]

DAYS, DRIVERS, STINTS = 4, 20, (4, 8)
STINT_LAPS = (5, 20)
COMPOUNDS = ("SOFT", "MEDIUM", "HARD")
SAVE, USUAL, PUSH = 0, 1, 2
STAY = 0.8
#: Of each mode: metres of lift and coast, share at full throttle, share coasting, ms beyond a lap that pushes.
LIFT_M = (170.0, 35.0, 12.0)
FULL_THROTTLE = (0.38, 0.42, 0.47)
COAST = (0.065, 0.04, 0.03)
SLOWER_MS = (2600.0, 1100.0, 0.0)
PUSHED_LAP_MS, AGE_MS = 97_500.0, 45.0
GAP_CHANCE = 0.08


def simulate_telemetry(seed: int = 7) -> pa.Table:
    """Some 5,000 laps of four days; the same rows for the same seed."""
    return pa.concat_tables(
        stint for day in range(1, DAYS + 1) for stint in _day(np.random.default_rng([seed, day]), day)
    )


def _day(generator: Generator, day: int) -> Iterator[pa.Table]:
    grip_ms = generator.normal(0, 300)
    for driver in range(1, DRIVERS + 1):
        done, skill_ms = 0, generator.normal(0, 350)
        for stint in range(1, int(generator.integers(*STINTS)) + 1):
            compound = COMPOUNDS[generator.integers(0, 3)]
            laps = int(generator.integers(*STINT_LAPS))
            modes = np.fromiter(_modes(generator, laps, compound), np.int64, laps)
            constants = {
                "session_id": f"2026_TEST_D{day}",
                "day": day,
                "driver_code": f"D{driver:02d}",
                "stint": stint,
                "compound": compound,
            }
            age = np.arange(1, laps + 1)
            columns = {"lap_number": done + age, "tire_age": age, **_laps(generator, modes, grip_ms + skill_ms)}
            repeated = {name: pa.repeat(pa.scalar(value), laps) for name, value in constants.items()}
            yield pa.table({**repeated, **{name: pa.array(values) for name, values in columns.items()}})
            done += laps


def _modes(generator: Generator, laps: int, compound: str) -> Iterator[int]:
    """What the driver is told, lap by lap."""
    life = {"SOFT": 8, "MEDIUM": 12, "HARD": 16}[compound]
    mode, pushed = int(generator.integers(0, 3)), 0
    for age, (stay, told) in enumerate(generator.random((laps, 2)), start=1):
        if pushed >= 3:
            mode = SAVE
        elif stay > STAY:
            push = 1.6 * max(0.1, 1 - age / life)
            at = told * (1.5 + push)
            mode = SAVE if at < 0.5 else USUAL if at < 1.5 else PUSH
        pushed = pushed + 1 if mode == PUSH else 0
        yield mode


def _laps(generator: Generator, modes: Ints, offset_ms: float) -> dict[str, NDArray[np.generic]]:
    """The columns of a stint's laps, the first of them an out lap, the last an in lap."""
    laps = len(modes)
    moved = np.zeros(laps, bool)
    moved[[0, -1]] = True
    lift, full, coast, slower = (np.array(values)[modes] for values in (LIFT_M, FULL_THROTTLE, COAST, SLOWER_MS))
    full = np.clip(generator.normal(full, 0.015), 0, 1) * np.where(moved, 0.6, 1)
    lap_ms = PUSHED_LAP_MS + slower + AGE_MS * np.arange(1, laps + 1) + offset_ms + generator.normal(0, 250, laps)
    return {
        "lift_coast_m_total": generator.gamma(4, lift / 4).round(1),
        "full_throttle_frac": full.round(4),
        "coast_frac": np.clip(generator.normal(coast, 0.008), 0, 1).round(4),
        "brake_frac": generator.normal(0.22, 0.01, laps).round(4),
        "throttle_mean_pct": (135 * full).round(2),
        "throttle_rate_p95_pct_s": generator.normal(60 + 6 * modes, 6).round(2),
        "speed_max_kmh": (generator.normal(305 + 4 * modes, 5) - 60 * moved).round(1),
        "lap_time_ms": (lap_ms * np.where(moved, 1.25, 1)).round().astype(np.int64),
        "clean_tel_lap": ~moved & (generator.random(laps) > GAP_CHANCE),
    }
