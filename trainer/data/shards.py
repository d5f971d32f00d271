"""Shards on local disk: each is read from BigQuery once, and after a restart of the process served from its file."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainer.contract import FailureReason, SnapshotRef, TrainingFailure
from trainer.data.reading import TableReader, split_condition
from trainer.data.rows import Rows, as_floats, no_rows

SHARD, ORDER = "shard", "row_key"
#: What is in memory at once while shards are read: 256 MiB of float32. Shards of more than that are read one at a time.
CELLS_AT_ONCE = 64 * 2**20
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardReader:
    """Rows of a snapshot by shard, through files below ``folder``.

    A file belongs to one table (tables are immutable), the columns that are read from it, a split and a shard. It has
    the features as float32 and the target as float64, sorted by row key, and is written whole or not at all.
    """

    snapshot: SnapshotRef
    features: tuple[str, ...]
    target: str
    folder: Path
    reader: TableReader | None = None

    def rows(self, split: str, shards: Sequence[int]) -> Rows:
        """The rows of ``shards``, in ascending order, mapped into memory.

        Raises:
            TrainingFailure: ``DataInvalid`` for another number of rows than the snapshot counted, a target that is
                null or not finite, a feature that is no number; ``StorageFull``; and what :class:`TableReader` says.
        """
        try:
            self._fill(split, shards)
        except OSError as e:
            if e.errno not in FULL:
                raise
            message = f"{self.folder}: {e.strerror} while caching shards of {self.snapshot.table}; give it more space"
            raise TrainingFailure(FailureReason.STORAGE_FULL, message) from e
        opened = [found for shard in sorted(shards) if (found := self._open(split, shard)) is not None]
        if not any(table.num_rows for table, _ in opened):
            return no_rows(self.features)
        whole = pa.concat_tables([table for table, _ in opened])
        maps = tuple(some for _, some in opened)
        rows = Rows(features=whole.select(list(self.features)), target=whole[self.target].to_numpy(), maps=maps)
        bad = int(np.count_nonzero(~np.isfinite(rows.target)))
        if bad:
            message = f"{bad} of {len(rows)} rows of split {split!r} have a {self.target} that is null or not finite"
            raise self._invalid(message)
        return rows

    def path(self, split: str, shard: int) -> Path:
        """The file of one shard."""
        columns = hashlib.sha256("\n".join((self.target, *self.features)).encode()).hexdigest()[:16]
        return self.folder / quote(self.snapshot.table, safe="") / columns / f"{split}-{shard:04d}.arrow"

    def _fill(self, split: str, shards: Sequence[int]) -> None:
        missing = [shard for shard in sorted(shards) if self._open(split, shard) is None]
        if not missing:
            return
        reader = self.reader or TableReader(table=self.snapshot.table)
        columns = [*self.features, self.target, SHARD, ORDER]
        for some in self._portions(split, missing):
            table = reader.read(columns, split_condition(split, some), self._narrow)
            self._write_shards(split, some, table)

    def _portions(self, split: str, shards: Sequence[int]) -> Iterator[list[int]]:
        portion: list[int] = []
        cells = 0
        for shard in shards:
            more = self.snapshot.rows[split][shard] * len(self.features)
            if portion and cells + more > CELLS_AT_ONCE:
                yield portion
                portion, cells = [], 0
            portion.append(shard)
            cells += more
        yield portion

    def _narrow(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = {}
        for name in batch.schema.names:
            values = batch.column(name)
            if name in (SHARD, ORDER):
                columns[name] = values.cast(pa.int64())
                continue
            try:
                columns[name] = as_floats(values, pa.float64() if name == self.target else pa.float32())
            except TrainingFailure as e:
                raise self._invalid(f"column {name} {e}") from e
        return pa.RecordBatch.from_pydict(columns)

    def _write_shards(self, split: str, shards: Sequence[int], table: pa.Table) -> None:
        shard_of, key = table[SHARD].to_numpy(), table[ORDER].to_numpy()
        order = np.lexsort((key, shard_of))
        sorted_shards = shard_of[order]
        for shard in shards:
            expected = self.snapshot.rows[split][shard]
            first, last = (np.searchsorted(sorted_shards, shard, side=side) for side in ("left", "right"))
            taken = order[first:last]
            if len(taken) != expected:
                message = f"shard {shard} of split {split!r} has {len(taken)} rows, the snapshot counted {expected}"
                raise self._invalid(message)
            keys = key[taken]
            if len(taken) > 1 and not np.all(keys[1:] > keys[:-1]):
                # Rows of one key could come in any order, and the model's bytes with them.
                raise self._invalid(f"{ORDER} does not number the rows of shard {shard} of split {split!r}")
            self._check(split, shard, keys, table[self.target].take(pa.array(taken)).to_numpy())
            kept = table.select([*self.features, self.target]).take(pa.array(taken)).combine_chunks()
            _write(self.path(split, shard), kept)

    def _check(self, split: str, shard: int, keys: NDArray[np.int64], target: NDArray[np.float64]) -> None:
        """That these are the rows that were counted, with the targets that they had."""
        expected = self.snapshot.checksums.get(split)
        if expected is None or checksum(keys, target) == expected[shard]:
            return
        raise self._invalid(f"shard {shard} of split {split!r} holds other rows or targets than the snapshot did")

    def _open(self, split: str, shard: int) -> tuple[pa.Table, mmap.mmap] | None:
        """The shard's file, mapped; None when it is not there or not whole."""
        try:
            with self.path(split, shard).open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            # Our own map and not Arrow's, which cannot be told to forget what was read.
            table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped))).read_all()
        except (FileNotFoundError, ValueError):  # pa.ArrowInvalid is a ValueError, as is mapping an empty file
            return None
        return (table, mapped) if table.num_rows == self.snapshot.rows[split][shard] else None

    def _invalid(self, problem: str) -> TrainingFailure:
        return TrainingFailure(FailureReason.DATA_INVALID, f"{self.snapshot.table}: {problem}")


def checksum(keys: NDArray[np.int64], target: NDArray[np.float64]) -> int:
    """What ``include/sql/snapshot/counts.sql`` computes for a shard of these keys (rows,) and targets (rows,)."""
    scaled = np.floor(target * 1024.0)
    # As SAFE_CAST: what is no INT64 is nothing.
    fits = np.isfinite(scaled) & (np.abs(scaled) < 2.0**63)
    whole = np.where(fits, scaled, 0.0).astype(np.int64)
    return int(np.bitwise_xor.reduce(keys ^ whole, initial=0))


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
