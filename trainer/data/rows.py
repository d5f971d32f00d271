"""Rows of one split on one rank: Arrow columns mapped from disk, handed to the libraries batch by batch."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from trainer.contract import FailureReason, Objective, TrainingFailure

Floats = npt.NDArray[np.float32]
#: Large enough to be worth a call, small enough to add little to a worker's memory (32 MiB at 128 features).
BATCH_ROWS = 65_536
SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rows:
    """Rows in the order of their shards and row keys.

    ``features`` has float32 columns, NaN where a value is missing; ``target`` is [rows], finite. ``maps`` are the files
    that they are mapped from.
    """

    features: pa.Table
    target: npt.NDArray[np.float64]
    maps: tuple[mmap.mmap, ...] = ()

    def __len__(self) -> int:
        return len(self.target)

    @property
    def names(self) -> tuple[str, ...]:
        """The features, in order."""
        return tuple(self.features.column_names)

    @property
    def arrow_bytes(self) -> int:
        """Bytes of the Arrow columns, target included."""
        return int(self.features.nbytes) + int(self.target.nbytes)

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[Floats]:
        """[at most ``rows``, features] matrices; no rows are one empty matrix, so that its width is still known."""
        return (matrix(some) for some in self.tables(rows))

    def tables(self, rows: int = BATCH_ROWS) -> Iterator[pa.Table]:
        """The same batches as Arrow columns, which are not copied."""
        for start in range(0, max(len(self), 1), rows):
            yield self.features.slice(start, rows)
            self.forget()

    def forget(self) -> None:
        """Let pages that were read leave this process's memory; they are read again when they are needed."""
        for some in self.maps:
            some.madvise(mmap.MADV_DONTNEED)

    def require_target_of(self, objective: Objective, classes: int) -> None:
        """Check that every target is a class that ``objective`` has.

        Raises:
            TrainingFailure: ``DataInvalid`` naming values that are none.
        """
        count = {Objective.BINARY_LOGISTIC: 2, Objective.MULTICLASS: classes}.get(objective)
        if count is None:
            return
        values = np.unique(self.target)
        wrong = [v for v in values.tolist() if not (0 <= v < count and v == int(v))]
        if wrong:
            message = f"the target has values {wrong[:SHOWN]}; {objective.value} has the classes 0 to {count - 1}"
            raise TrainingFailure(FailureReason.DATA_INVALID, message)


def no_rows(features: tuple[str, ...]) -> Rows:
    """The rows of a rank that has none of a split."""
    schema = pa.schema([(name, pa.float32()) for name in features])
    return Rows(features=schema.empty_table(), target=np.zeros(0))


def matrix(table: pa.Table) -> Floats:
    """Numeric columns as one [rows, columns] float32 matrix, NaN where null."""
    out = np.empty((table.num_rows, table.num_columns), np.float32)
    for number, column in enumerate(table.columns):
        start = 0
        for chunk in column.chunks:
            out[start : start + len(chunk), number] = as_floats(chunk, pa.float32()).to_numpy(zero_copy_only=False)
            start += len(chunk)
    return out


def column(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """A numeric column, NaN where null."""
    chunks = [as_floats(chunk, pa.float64()) for chunk in table[name].chunks]
    return pa.chunked_array(chunks, pa.float64()).to_numpy()


def as_floats(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Numbers or truth values as floats of ``kind`` (float32, float64), NaN where null.

    Raises:
        TrainingFailure: ``DataInvalid`` for anything else.
    """
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    known = pa.types.is_floating(values.type) or pa.types.is_integer(values.type) or pa.types.is_boolean(values.type)
    if not known:
        raise TrainingFailure(FailureReason.DATA_INVALID, f"is of type {values.type}, not a number")
    floats = values if values.type == kind else pc.cast(values, kind, safe=False)
    return pc.fill_null(floats, float("nan")) if floats.null_count else floats
