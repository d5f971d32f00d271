"""Unit costs, from which ``tests.bench.scale`` works out jobs that no laptop can run (docs/scale.md)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tests.bench.bench import Bench, say
from tests.bench.figures import Figure
from tests.bench.job import Ran, Wanted, run_job
from tests.bench.rows import FEATURES, Sample
from tests.bench.wall import XGBOOST, XGBOOST_PLAIN
from trainer.contract import Engine

WORKERS = 2
#: Two jobs: what the second takes longer are rounds, and nothing that happens once.
FEW, MANY = 5, 25
PREDICTED_ROWS, PREDICTED_TREES = 500_000, 100
MIB = 1 << 20


def measure(bench: Bench, wanted: Sequence[str]) -> Iterator[Figure]:
    """Rounds, matrices and loading at 1 GiB of Arrow a worker, on one core each; prediction of earlier trees."""
    sample = bench.simulated(bench.scale.memory_rows, for_peers=False)
    few, many = (_run(bench, sample, rounds).result.seconds for rounds in (FEW, MANY))
    core_ns = 1e9 * WORKERS / (sample.rows * len(FEATURES))
    found = {
        "round_ns": core_ns * (many["training"] - few["training"]) / (MANY - FEW),
        "build_ns": core_ns * min(few["forming"], many["forming"]),
        "load_mib_s": sample.rows * 4 * len(FEATURES) / MIB / WORKERS / min(few["loading"], many["loading"]),
        "restore_ns": _restore_ns(),
    }
    samples: dict[str, Any] = {"few": dict(few), "many": dict(many)}
    note = f"{sample.rows} rows x {len(FEATURES)}, depth 8, {WORKERS} workers of one core, {FEW} and {MANY} rounds"
    yield from (Figure(figure=name, value=found[name], samples=samples, note=note) for name in wanted)


def _run(bench: Bench, sample: Sample, rounds: int) -> Ran:
    job = Wanted(
        name="units", sample=sample, engine=Engine.XGBOOST, params=XGBOOST, rounds=rounds, segment_rounds=rounds
    )
    ran = run_job(bench.stand, job)
    say(f"units, {rounds} rounds: {dict(ran.result.seconds)}")
    return ran


def _restore_ns() -> float:
    """A row's way through one tree, by the call that a rank makes after a restart."""
    import xgboost

    random = np.random.default_rng(0)
    rows = random.standard_normal((PREDICTED_ROWS, len(FEATURES)), np.float32)
    target = rows[:, 0] * rows[:, 1] + random.standard_normal(PREDICTED_ROWS)
    params = {**XGBOOST_PLAIN, "nthread": WORKERS}
    matrix = xgboost.QuantileDMatrix(rows, target, nthread=WORKERS)
    booster = xgboost.train(params, matrix, PREDICTED_TREES)
    booster.set_param({"nthread": 1})
    began = time.monotonic()
    booster.inplace_predict(rows, predict_type="margin")
    return 1e9 * (time.monotonic() - began) / (PREDICTED_ROWS * PREDICTED_TREES)
