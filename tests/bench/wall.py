"""Wall time beside plain training and beside the libraries' own Dask integrations."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.bench.bench import Bench, say
from tests.bench.figures import Figure, missing, ratio
from tests.bench.job import Wanted, run_job
from tests.bench.peer import Peer, run_peer
from tests.bench.rows import Sample
from trainer.contract import Engine
from trainer.contract.fields import Scalar

XGBOOST: Mapping[str, Scalar] = {"max_depth": 8, "learning_rate": 0.1, "max_bin": 256}
XGBOOST_PLAIN = {**XGBOOST, "tree_method": "hist", "objective": "reg:squarederror"}
LIGHTGBM: Mapping[str, Scalar] = {"max_depth": 8, "num_leaves": 255, "learning_rate": 0.1, "max_bin": 255}
LIGHTGBM_PLAIN = {**LIGHTGBM, "objective": "regression", "verbosity": -1}
CORES = 2

#: figure: (ours or peer above the line, below it).
PAIRS = {
    "wall_vs_plain_2w": ("ours_2w", "plain"),
    "wall_vs_plain_1w": ("ours_1w", "plain"),
    "wall_vs_xgboost_dask": ("ours_2w", "dask"),
    "xgboost_dask_vs_plain": ("dask", "plain"),
    "wall_vs_lightgbm_dask": ("ours_2w", "dask"),
    "lightgbm_vs_plain_2w": ("ours_2w", "plain"),
    "lightgbm_dask_vs_plain": ("dask", "plain"),
    "dense_wall_vs_plain_2w": ("ours_2w", "plain"),
    "dense_wall_vs_xgboost_dask": ("ours_2w", "dask"),
    "dense_xgboost_dask_vs_plain": ("dask", "plain"),
    "real_wall_vs_plain_2w": ("ours_2w", "plain"),
    "real_wall_vs_xgboost_dask": ("ours_2w", "dask"),
}
XGBOOST_FIGURES = ("wall_vs_plain_2w", "wall_vs_plain_1w", "wall_vs_xgboost_dask", "xgboost_dask_vs_plain")
LIGHTGBM_FIGURES = ("wall_vs_lightgbm_dask", "lightgbm_vs_plain_2w", "lightgbm_dask_vs_plain")
DENSE_FIGURES = ("dense_wall_vs_plain_2w", "dense_wall_vs_xgboost_dask", "dense_xgboost_dask_vs_plain")
REAL_FIGURES = ("real_wall_vs_plain_2w", "real_wall_vs_xgboost_dask")

Run = Callable[[], tuple[float, dict[str, Any]]]


def xgboost(bench: Bench, wanted: Sequence[str]) -> Iterator[Figure]:
    """The figures of XGBoost on simulated rows."""
    yield from _pairs(bench, wanted, bench.simulated(bench.scale.rows), Engine.XGBOOST)


def dense(bench: Bench, wanted: Sequence[str]) -> Iterator[Figure]:
    """The figures of XGBoost on rows of distinct numbers, none missing: packed tighter, with more to exchange."""
    yield from _pairs(bench, wanted, bench.simulated(bench.scale.rows, dense=True), Engine.XGBOOST)


def lightgbm(bench: Bench, wanted: Sequence[str]) -> Iterator[Figure]:
    """The figures of LightGBM on simulated rows."""
    yield from _pairs(bench, wanted, bench.simulated(bench.scale.rows), Engine.LIGHTGBM)


def real(bench: Bench, wanted: Sequence[str]) -> Iterator[Figure]:
    """XGBoost on the real laps, where there are any."""
    sample = bench.real_laps()
    if sample is None:
        yield from (missing(name, "absent: ../shared/data/laps.parquet") for name in wanted)
        return
    yield from _pairs(bench, wanted, sample, Engine.XGBOOST)


def _pairs(bench: Bench, wanted: Sequence[str], sample: Sample, engine: Engine) -> Iterator[Figure]:
    """Everybody who is in a wanted pair takes turns, so that what else the machine does meets all alike."""
    names = sorted(
        {name for figure in wanted for name in PAIRS[figure]}, key=["ours_2w", "plain", "ours_1w", "dask"].index
    )
    runs = {name: _run(bench, name, sample, engine) for name in names}
    took: dict[str, list[float]] = {name: [] for name in names}
    details: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(bench.samples):
        for name, run in runs.items():
            load = round(os.getloadavg()[0], 2)
            seconds, detail = run()
            took[name].append(seconds)
            details[name].append({**detail, "load_before": load})
            say(f"{engine.value} {sample.name} {name} {turn + 1}/{bench.samples}: {seconds:.2f} s {detail}")
    for figure in wanted:
        above, below = PAIRS[figure]
        note = f"{sample.rows} rows x {len(sample.features)}, {bench.scale.rounds} rounds, {above} / {below}"
        both = {n: details[n] for n in (above, below)}
        cpu = [statistics.median(one["cpu_s"] for one in both[n]) for n in (above, below)]
        yield ratio(figure, took[above], took[below], cpu_ratio=round(cpu[0] / cpu[1], 4), details=both, note=note)


def _run(bench: Bench, name: str, sample: Sample, engine: Engine) -> Run:
    workers = 1 if name == "ours_1w" else 2
    own = XGBOOST if engine is Engine.XGBOOST else LIGHTGBM

    def ours() -> tuple[float, dict[str, Any]]:
        job = Wanted(
            name=f"wall-{engine.value}-{workers}",
            sample=sample,
            engine=engine,
            params=own,
            rounds=bench.scale.rounds,
            workers=workers,
            threads=CORES // workers,
        )
        ran = run_job(bench.stand, job)
        spent = {k: round(v, 2) for k, v in ran.result.seconds.items() if k in ("loading", "forming", "training")}
        spent["cpu_s"] = round(ran.cpu_s(forming=True), 2)
        return ran.wall_s, {**spent, "rmse": round(ran.result.metrics.get("train", 0.0), 3)}

    def peer() -> tuple[float, dict[str, Any]]:
        assert sample.file is not None
        plain = name == "plain"
        script = f"{engine.value}_{'plain' if plain else 'dask'}"
        params = XGBOOST_PLAIN if engine is Engine.XGBOOST else LIGHTGBM_PLAIN
        threads = CORES if plain else 1
        found = run_peer(
            Peer(script=script, rows=sample.file, params=params, rounds=bench.scale.rounds, threads=threads)
        )
        kept = {k: round(found[k], 3) for k in ("build_s", "train_s", "cpu_s", "rmse")}
        return float(found["seconds"]), kept

    return ours if name.startswith("ours") else peer
