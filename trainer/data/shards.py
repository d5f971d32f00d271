"""Shards on local disk and in memory. A shard is read once; after a restart of the process the cache serves."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from trainer.contract import FailureReason, TrainingFailure, TrainingSpec
from trainer.data.reading import read_table, split_condition

ORDER = "row_key"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedRows:
    """Rows of one split: ``features`` [rows, features] float32, NaN where null; ``target`` [rows] float32."""

    features: npt.NDArray[np.float32]
    target: npt.NDArray[np.float32]
    arrow_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardCache:
    """Arrow files below ``folder``, one a shard, keyed by the table and its columns. Written whole or not at all."""

    folder: Path
    spec: TrainingSpec

    def path(self, split: str, shard: int) -> Path:
        """The file of one shard."""
        identity = "\n".join((self.spec.snapshot.table, self.spec.target, *self.spec.features))
        key = hashlib.sha256(identity.encode()).hexdigest()[:16]
        return self.folder / key / f"{split}-{shard:04d}.arrow"

    def fill(self, split: str, shards: Sequence[int]) -> None:
        """Read the shards that are not here yet, all at once, and keep each sorted by ``row_key``.

        Raises:
            TrainingFailure: ``DataInvalid`` if a shard has another number of rows than the spec counted.
        """
        missing = [s for s in shards if not self.path(split, s).exists() and self.spec.snapshot.rows[split][s]]
        if not missing:
            return
        columns = [*self.spec.features, self.spec.target, "shard", ORDER]
        table = read_table(self.spec.snapshot.table, columns, split_condition(split, missing))
        # Streams come in any order; sorted rows are what makes equal snapshots equal models.
        table = table.take(pc.sort_indices(table, [("shard", "ascending"), (ORDER, "ascending")]))
        counts = {row["values"]: row["counts"] for row in pc.value_counts(table["shard"]).to_pylist()}
        start = 0
        for shard in sorted(missing):
            expected, got = self.spec.snapshot.rows[split][shard], int(counts.get(shard, 0))
            if expected != got:
                message = (
                    f"{self.spec.snapshot.table}: shard {shard} of {split!r} has {got} rows, the spec says {expected}"
                )
                raise TrainingFailure(FailureReason.DATA_INVALID, message)
            self._write(self.path(split, shard), table.slice(start, got))
            start += got

    def read(self, split: str, shard: int) -> pa.Table:
        """One shard, mapped into memory; an empty shard has no file."""
        with pa.memory_map(str(self.path(split, shard))) as source:
            return pa.ipc.open_file(source).read_all()

    @staticmethod
    def _write(path: Path, table: pa.Table) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def load_shards(cache: ShardCache, split: str, shards: Sequence[int]) -> LoadedRows:
    """The rows of some shards, in the order of the shards' numbers, straight from Arrow's columns to float32.

    Raises:
        TrainingFailure: ``DataInvalid`` for a target that is null or not finite, and what :meth:`ShardCache.fill` says.
    """
    spec = cache.spec
    cache.fill(split, shards)
    counts: Mapping[int, int] = {
        s: spec.snapshot.rows[split][s] for s in sorted(shards) if spec.snapshot.rows[split][s]
    }
    rows = sum(counts.values())
    features = np.empty((rows, len(spec.features)), np.float32)
    target = np.empty(rows, np.float32)
    at = arrow_bytes = 0
    for shard, count in counts.items():
        table = cache.read(split, shard)
        arrow_bytes += table.nbytes
        for number, name in enumerate(spec.features):
            features[at : at + count, number] = column(table, name)
        target[at : at + count] = column(table, spec.target)
        at += count
    bad = int(np.count_nonzero(~np.isfinite(target)))
    if bad:
        message = f"{spec.snapshot.table}: {bad} of {rows} targets of {split!r} are null or not finite"
        raise TrainingFailure(FailureReason.DATA_INVALID, message)
    return LoadedRows(features=features, target=target, arrow_bytes=arrow_bytes)


def column(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """A numeric column as numbers, NaN where null."""
    values = pc.cast(table[name], pa.float64())
    return np.asarray(pc.fill_null(values, float("nan")).to_numpy())
