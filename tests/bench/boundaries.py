"""What checkpoints and boundaries cost, from the chief's event log."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import psutil

from tests.bench.bench import Bench, say
from tests.bench.events import Events, seconds
from tests.bench.figures import Figure
from tests.bench.job import Ran, Wanted, run_job
from tests.bench.pods import Series, pods
from tests.bench.rows import Sample
from trainer.contract import Engine

EVERY, NEVER = 100, 1000
FREQUENT = 10
#: Boundaries this many rounds before and after the round in question are looked at.
AROUND = 50
EARLY, LATE = 100, 900
SMALL_ROWS = 20_000
CHIEF_WORKERS, CHIEF_ROUNDS, CHIEF_EVERY = 10, 100, 5


def checkpoint_cost(bench: Bench, wanted: Sequence[str]) -> Iterator[Figure]:
    """The same job with a checkpoint every 100 rounds and with one at its end, in turns that begin with either."""
    sample = bench.simulated(bench.scale.checkpoint_rows, for_peers=False)
    rounds = bench.scale.checkpoint_rounds
    took: dict[int, list[float]] = {EVERY: [], NEVER: []}
    details = []
    for turn in range(bench.samples):
        for every in (EVERY, NEVER) if turn % 2 else (NEVER, EVERY):
            ran = run_job(bench.stand, _job("checkpoints", sample, rounds, every, depth=8))
            times = took[every]
            times.append(ran.result.seconds["training"] + ran.result.seconds.get("finishing", 0.0))
            details.append({"every": every, **_spent(ran)})
            say(f"checkpoint every {every} rounds, {turn + 1}/{bench.samples}: {times[-1]:.2f} s {details[-1]}")
    often, never = (statistics.median(took[every]) for every in (EVERY, NEVER))
    cpu = [statistics.median(d["cpu_s"] for d in details if d["every"] == every) for every in (EVERY, NEVER)]
    in_cpu = round(cpu[0] / cpu[1] - 1, 4)
    samples = {"every_100": took[EVERY], "every_1000": took[NEVER], "cost_in_cpu": in_cpu, "details": details}
    note = f"{sample.rows} rows x {len(sample.features)}, depth 8, {rounds} rounds, 2 workers"
    yield from (Figure(figure=name, value=often / never - 1, samples=samples, note=note) for name in wanted)


def boundary_growth(bench: Bench, wanted: Sequence[str]) -> Iterator[Figure]:
    """Time between two boundaries less that of the rounds between them, at round 900 and at round 100.

    A round's time is what 90 rounds more between two boundaries take, at the same place of another job.
    """
    sample = bench.simulated(SMALL_ROWS, for_peers=False)
    found: list[dict[str, float]] = []
    for turn in range(bench.samples):
        frequent = run_job(bench.stand, _job("boundaries", sample, NEVER, FREQUENT, depth=3))
        rare = run_job(bench.stand, _job("boundaries", sample, NEVER, EVERY, depth=3))
        one: dict[str, float] = {}
        for at in (EARLY, LATE):
            often, seldom = _period(frequent.events, at), _period(rare.events, at)
            round_s = (seldom - often) / (EVERY - FREQUENT)
            one |= {f"period_{at}": often, f"round_{at}": round_s, f"boundary_{at}": often - FREQUENT * round_s}
        found.append({name: round(value, 5) for name, value in one.items()})
        say(f"boundaries {turn + 1}/{bench.samples}: {found[-1]}")
    late, early = (statistics.median(one[f"boundary_{at}"] for one in found) for at in (LATE, EARLY))
    note = f"{sample.rows} rows x {len(sample.features)}, depth 3, 1000 rounds in segments of 10, 2 workers"
    yield from (Figure(figure=name, value=late / early, samples={"jobs": found}, note=note) for name in wanted)


def chief_work(bench: Bench, wanted: Sequence[str]) -> Iterator[Figure]:
    """The chief's CPU from a boundary to the next, with ten workers and 5 rounds between: more than its own work there.

    What it says itself of its own work is in the samples.
    """
    sample = bench.simulated(SMALL_ROWS, for_peers=False)
    series = Series(lambda: _cpu_s(pods(bench.stand, "trainer.chief").get(0)), 0.1)
    job = _job("chief", sample, CHIEF_ROUNDS, CHIEF_EVERY, depth=3, workers=CHIEF_WORKERS)
    with series.running():
        ran = run_job(bench.stand, job)
    boundaries = ran.events.of("boundary")
    first, last = seconds(boundaries[0]), seconds(boundaries[-1])
    used = [value for at, value in series.values if first <= at <= last and isinstance(value, float)]
    cpu_ms = 1000 * (used[-1] - used[0]) / (len(boundaries) - 1)
    said = [1000 * float(one["work_s"]) for one in boundaries]
    samples = {"own_work_ms": [round(v, 2) for v in said]}
    note = (
        f"{CHIEF_WORKERS} workers, {len(boundaries)} boundaries, {CHIEF_EVERY} rounds between two; all CPU of the chief"
    )
    yield from (Figure(figure=name, value=cpu_ms, samples=samples, note=note) for name in wanted)


def _job(name: str, sample: Sample, rounds: int, every: int, *, depth: int, workers: int = 2) -> Wanted:
    return Wanted(
        name=name,
        sample=sample,
        engine=Engine.XGBOOST,
        params={"max_depth": depth, "learning_rate": 0.05, "max_bin": 256},
        rounds=rounds,
        workers=workers,
        segment_rounds=every,
    )


def _spent(ran: Ran) -> dict[str, Any]:
    """Where the time of training went: inside the segments, and between them."""
    boundaries = ran.events.of("boundary")
    inside = sum(float(one["seconds"]) for one in boundaries)
    training = ran.result.seconds["training"]
    commits = [float(one["seconds"]) for one in ran.events.of("committed")]
    between = {"in_segments": round(inside, 3), "between_segments": round(training - inside, 3)}
    return {
        "training": training,
        **between,
        "commits": round(sum(commits), 3),
        "cpu_s": round(ran.cpu_s(forming=False), 2),
    }


def _period(events: Events, around: int) -> float:
    """Median time between two boundaries near round ``around``."""
    boundaries = events.of("boundary")
    pairs = [
        seconds(after) - seconds(before)
        for before, after in itertools.pairwise(boundaries)
        if abs(after["round"] - around) <= max(AROUND, after["round"] - before["round"])
    ]
    return statistics.median(pairs)


def _cpu_s(process: psutil.Process | None) -> float | None:
    if process is None:
        return None
    try:
        times = process.cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)
