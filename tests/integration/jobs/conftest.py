"""A snapshot of made-up rows behind a real Storage Read API, and a launcher of pods."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.jobs.pods import Launcher, make_certificates, storage_read
from trainer.contract import (
    CheckpointPolicy,
    Engine,
    Limits,
    Metric,
    Objective,
    OutputUris,
    SnapshotRef,
    TrainingSpec,
)

TABLE = "f1-project.f1_staging.made_up"
SHARDS = 8
ROWS = {"train": 12_000, "validation": 2_000, "test": 2_000}
FEATURES = ("a", "b", "c", "d")
#: Of the environment, and of no log.
SECRET = "ya29.a-token-that-nobody-may-read"


def made_up_rows() -> pa.Table:
    """Four features with gaps, a target that trees can learn, races of different lengths."""
    generator = np.random.default_rng(11)
    total = sum(ROWS.values())
    columns = {name: generator.normal(size=total) for name in FEATURES}
    target = (
        3 * columns["a"] + np.sin(3 * columns["b"]) + columns["c"] * columns["d"] + generator.normal(size=total) / 4
    )
    race = np.sort(generator.integers(0, 60, total))
    return pa.table(
        {
            **{name: pa.array(np.where(generator.random(total) < 0.03, None, v)) for name, v in columns.items()},
            "target": target,
            "group_id": [f"race {n}" for n in race],
            "split": np.repeat(list(ROWS), list(ROWS.values())),
            "shard": pa.array(race % SHARDS, pa.int64()),
            "row_key": pa.array(generator.permutation(total), pa.int64()),
        }
    )


@pytest.fixture(scope="session")
def snapshot_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("snapshot") / "rows.parquet"
    pq.write_table(made_up_rows(), path)
    return path


@pytest.fixture(scope="session")
def snapshot(snapshot_file: Path) -> SnapshotRef:
    table = pq.read_table(snapshot_file, columns=["split", "shard"])
    shard, split = table["shard"].to_numpy(), np.array(table["split"].to_pylist())
    rows = {s: tuple(int(n) for n in np.bincount(shard[split == s], minlength=SHARDS)) for s in ("train", "validation")}
    return SnapshotRef(table=TABLE, logical_shards=SHARDS, rows=rows)


@pytest.fixture(scope="session")
def storage_port(snapshot_file: Path) -> Iterator[int]:
    with storage_read({TABLE: snapshot_file}) as port:
        yield port


@pytest.fixture
def launcher(tmp_path: Path, storage_port: int) -> Iterator[Launcher]:
    environment = {
        "BIGQUERY_STORAGE_EMULATOR_HOST": f"127.0.0.1:{storage_port}",
        "TRAINING_METRICS": "prometheus",
        "TRAINING_MODEL_TYPE": "made_up",
        "A_TOKEN": SECRET,
    }
    started = Launcher(tmp_path, environment, make_certificates(tmp_path / "tls"))
    yield started
    started.close()


@pytest.fixture
def make_spec(tmp_path: Path, snapshot: SnapshotRef) -> Callable[..., TrainingSpec]:
    def make(name: str, **changes: Any) -> TrainingSpec:
        folder = tmp_path / "outputs" / name
        values: dict[str, Any] = {
            "job_id": name,
            "model_type": "made_up",
            "engine": Engine.XGBOOST,
            "objective": Objective.SQUARED_ERROR,
            "metric": Metric.RMSE,
            "features": FEATURES,
            "rounds": 60,
            "snapshot": snapshot,
            "output": OutputUris(checkpoints=(folder / "c").as_uri(), artifacts=(folder / "a").as_uri()),
            "num_workers": 2,
            "checkpoint": CheckpointPolicy(segment_rounds=20),
            "limits": Limits(worker_start_s=40, heartbeat_s=10),
            "seed": 3,
        }
        return TrainingSpec(**{**values, **changes})

    return make
