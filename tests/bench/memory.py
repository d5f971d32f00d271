"""Memory of a worker pod beside the Arrow bytes of its rows."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from tests.bench.bench import Bench, say
from tests.bench.events import seconds
from tests.bench.figures import Figure
from tests.bench.job import Ran, Wanted, run_job
from tests.bench.pods import Memory, Series, memory_of, pods
from tests.bench.rows import FEATURES, Sample
from tests.bench.wall import LIGHTGBM, XGBOOST
from trainer.contract import Engine

EVERY_S = 0.1
WORKERS = 2
#: float32 features and a float64 target.
ROW_BYTES = 4 * len(FEATURES) + 8
FEW_ROWS, FEW_ROUNDS, ROUNDS = 4000, 400, 5
PARAMS = {Engine.XGBOOST: XGBOOST, Engine.LIGHTGBM: LIGHTGBM}


def measure(bench: Bench, wanted: Sequence[str]) -> Iterator[Figure]:
    """The highest of both engines: (peak - what the processes hold after imports) / Arrow bytes of the worker."""
    few = bench.simulated(FEW_ROWS, for_peers=False)
    sample = bench.simulated(bench.scale.memory_rows, for_peers=False)
    found = {engine.value: _of_engine(bench, engine, few, sample) for engine in PARAMS}
    value = max(float(one["over_arrow"]) for one in found.values())
    arrow = sample.rows * ROW_BYTES / WORKERS / 2**30
    note = (
        f"{sample.rows} rows x {len(FEATURES)}, {arrow:.2f} GiB of Arrow a worker, {ROUNDS} rounds; the higher engine"
    )
    yield from (Figure(figure=name, value=value, samples=found, note=note) for name in wanted)


def _of_engine(bench: Bench, engine: Engine, few: Sample, sample: Sample) -> dict[str, Any]:
    idle, ran = _watched(bench, engine, few, FEW_ROUNDS)
    began = seconds(ran.events.of("group")[0])
    # Every process is there and has imported everything, and the rows weigh nothing.
    base = statistics.median(m.total for at, by in idle for m in by.values() if at >= began)
    base_anonymous = statistics.median(m.anonymous for at, by in idle for m in by.values() if at >= began)
    busy, ran = _watched(bench, engine, sample, ROUNDS)
    arrow = max(m.rows for m in ran.result.lineage[0].group) * ROW_BYTES
    began = seconds(ran.events.of("group")[0])
    peak = max(m.total for _, by in busy for m in by.values())
    anonymous = max(m.anonymous for _, by in busy for m in by.values())
    training = max(m.total for at, by in busy for m in by.values() if at >= began)
    found = {
        "over_arrow": round((peak - base) / arrow, 3),
        "training_over_arrow": round((training - base) / arrow, 3),
        "anonymous_over_arrow": round((anonymous - base_anonymous) / arrow, 3),
        "arrow_mib": arrow >> 20,
        "base_mib": int(base) >> 20,
        "peak_mib": peak >> 20,
        "seconds": dict(ran.result.seconds),
    }
    say(f"memory {engine.value}: {found}")
    return found


def _watched(
    bench: Bench, engine: Engine, sample: Sample, rounds: int
) -> tuple[list[tuple[float, dict[int, Memory]]], Ran]:
    series = Series(lambda: {i: memory_of(pod) for i, pod in pods(bench.stand, "trainer.worker").items()}, EVERY_S)
    job = Wanted(
        name=f"memory-{engine.value}",
        sample=sample,
        engine=engine,
        params=PARAMS[engine],
        rounds=rounds,
        workers=WORKERS,
    )
    with series.running():
        ran = run_job(bench.stand, job)
    return [(at, value) for at, value in series.values if isinstance(value, dict) and value], ran
