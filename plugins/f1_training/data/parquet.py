"""Parquet files as BigQuery takes them: flat columns of plain types under names that it allows."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_NULL = pa.nulls(1, pa.float64())[0]  # pa.scalar() would import pandas if it is there
COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")


def open_parquet(path: Path) -> pq.ParquetFile:
    """The file at ``path``, of which only the footer is read.

    Raises:
        ValueError: it is no Parquet file; the message names it.
    """
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as e:
        raise ValueError(f"{path} is not a Parquet file") from e


def flat_columns(schema: pa.Schema) -> list[str]:
    """Columns that can be loaded as they are; of names that differ in case only, as BigQuery sees none, the first."""
    names: dict[str, str] = {}
    for field in schema:
        if COLUMN_NAME.fullmatch(field.name) and _is_flat(field.type):
            names.setdefault(field.name.lower(), field.name)
    return list(names.values())


def plain(table: pa.Table) -> pa.Table:
    """``table`` with INT64, FLOAT64 and STRING for their smaller and larger relatives, and null for NaN."""
    return pa.table({name: _plain(column) for name, column in zip(table.column_names, table.columns, strict=True)})


def to_bytes(table: pa.Table) -> io.BytesIO:
    """``table`` as one Parquet file in memory, without Arrow's own schema, which only Arrow reads."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="snappy", store_schema=False)
    buffer.seek(0)
    return buffer


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_flat(kind: pa.DataType) -> bool:
    value = _value_type(kind)
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_date, pa.types.is_timestamp)
    return _is_text(value) or any(check(value) for check in checks)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    value = _value_type(column.type)
    if _is_text(value):
        return column.cast(pa.string())
    if pa.types.is_integer(value):
        return column.cast(pa.int64())
    if pa.types.is_floating(value):
        wide = column.cast(pa.float64())
        return pc.if_else(pc.is_nan(wide), _NULL, wide)
    return column.cast(value)
