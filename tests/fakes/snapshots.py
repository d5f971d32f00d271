"""Made-up snapshots: rows that trees can learn, their spec, and a Storage Read API in memory that serves them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.contract import Engine, Metric, Objective, OutputUris, SnapshotRef, TrainingSpec
from trainer.data.shards import checksum

TABLE = "f1-project.f1_staging.made_up"
FEATURES = ("a", "b", "c", "d", "e")
METRICS = {
    Objective.ABSOLUTE_ERROR: Metric.MAE,
    Objective.SQUARED_ERROR: Metric.RMSE,
    Objective.BINARY_LOGISTIC: Metric.LOG_LOSS,
    Objective.MULTICLASS: Metric.MULTI_LOG_LOSS,
}
#: With every kind of sampling: that is what makes an exact resume difficult.
PARAMS: dict[Engine, dict[str, Any]] = {
    Engine.XGBOOST: {
        "max_depth": 4,
        "learning_rate": 0.2,
        "subsample": 0.7,
        "colsample_bytree": 0.8,
        "colsample_bynode": 0.8,
    },
    Engine.LIGHTGBM: {
        "num_leaves": 15,
        "learning_rate": 0.2,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "feature_fraction": 0.8,
        "feature_fraction_bynode": 0.8,
        "extra_trees": True,
    },
}


def made_up_rows(
    *, rows: int = 3000, shards: int = 6, objective: Objective = Objective.SQUARED_ERROR, seed: int = 0
) -> pa.Table:
    """A fifth of the rows is of split ``validation``. Values are missing here and there; integers are among them."""
    generator = np.random.default_rng(seed)
    values = {name: generator.normal(size=rows) for name in FEATURES}
    signal = 2 * values["a"] + np.sin(3 * values["b"]) + values["c"] * values["d"] + generator.normal(size=rows) / 4
    target = {
        Objective.BINARY_LOGISTIC: (signal > 0).astype(float),
        Objective.MULTICLASS: np.digitize(signal, [-1.0, 1.0]).astype(float),
    }.get(objective, 90.0 + signal)
    columns: dict[str, Any] = {
        name: pa.array(np.where(generator.random(rows) < 0.05, None, v)) for name, v in values.items()
    }
    columns["e"] = pa.array(generator.integers(0, 9, rows))
    return pa.table(
        {
            **columns,
            "target": target,
            "group_id": [f"race {n}" for n in generator.integers(0, 20, rows)],
            "split": np.where(generator.random(rows) < 0.2, "validation", "train"),
            "shard": pa.array(generator.integers(0, shards, rows)),
            "row_key": pa.array(generator.permutation(rows)),
        }
    )


def snapshot_of(table: pa.Table, shards: int = 6, name: str = TABLE) -> SnapshotRef:
    shard, split = table["shard"].to_numpy(), np.array(table["split"].to_pylist())
    rows = {str(s): tuple(int(n) for n in np.bincount(shard[split == s], minlength=shards)) for s in np.unique(split)}
    key, target = table["row_key"].to_numpy(), table["target"].to_numpy()
    sums = {
        str(s): tuple(
            checksum(key[mine], target[mine]) for n in range(shards) for mine in [(split == s) & (shard == n)]
        )
        for s in np.unique(split)
    }
    return SnapshotRef(table=name, logical_shards=shards, rows=rows, checksums=sums)


def spec_for(table: pa.Table, engine: Engine, **changes: Any) -> TrainingSpec:
    objective = changes.get("objective", Objective.SQUARED_ERROR)
    values: dict[str, Any] = {
        "job_id": "job",
        "model_type": "made_up",
        "engine": engine,
        "objective": objective,
        "metric": METRICS[objective],
        "classes": 3 if objective is Objective.MULTICLASS else 0,
        "features": FEATURES,
        "rounds": 30,
        "snapshot": snapshot_of(table),
        "output": OutputUris(checkpoints="file:///c", artifacts="file:///a"),
        "params": PARAMS[engine],
        "num_workers": 1,
        "seed": 3,
    }
    return TrainingSpec(**{**values, **changes})


@dataclass
class FakeStorageRead:
    """The two calls of the API that are used, on one table. ``fail`` may raise for (call, stream, rows sent)."""

    table: pa.Table
    streams: int = 3
    batch_rows: int = 100
    fail: Callable[[str, str, int], None] = lambda call, stream, sent: None
    restrictions: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    _parts: dict[str, pa.Table] = field(default_factory=dict)

    def create_read_session(self, request: Any, **_: Any) -> Any:
        self.fail("create_read_session", "", 0)
        options = request.read_session.read_options
        self.restrictions.append(options.row_restriction)
        # The API returns columns in the table's order, whatever order they were asked for in.
        names = [name for name in self.table.column_names if name in list(options.selected_fields)]
        rows = self.table.filter(_condition(options.row_restriction)).select(names)
        used = min(self.streams, request.max_stream_count) if rows.num_rows else 0
        size = -(-rows.num_rows // max(used, 1))
        self._parts = {f"stream {n}": rows.slice(n * size, size) for n in range(used)}
        return SimpleNamespace(
            arrow_schema=SimpleNamespace(serialized_schema=rows.schema.serialize().to_pybytes()),
            streams=[SimpleNamespace(name=name) for name in self._parts],
        )

    def read_rows(self, read_stream: str, offset: int, **_: Any) -> Iterator[Any]:
        self.offsets.append(offset)
        sent = offset
        for batch in self._parts[read_stream].slice(offset).to_batches(max_chunksize=self.batch_rows):
            self.fail("read_rows", read_stream, sent)
            data = batch.serialize().to_pybytes()
            yield SimpleNamespace(arrow_record_batch=SimpleNamespace(serialized_record_batch=data))
            sent += batch.num_rows


def _condition(restriction: str) -> pc.Expression:
    found = re.fullmatch(r"split = '(?P<split>[^']+)'( AND shard IN \((?P<shards>[\d, ]+)\))?", restriction)
    assert found, restriction
    condition = pc.field("split") == found["split"]
    if found["shards"]:
        condition &= pc.field("shard").isin([int(s) for s in found["shards"].split(",")])
    return condition
