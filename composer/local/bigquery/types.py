"""Types and values between DuckDB's Arrow and BigQuery's JSON."""

from __future__ import annotations

import base64
import datetime
import decimal
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from composer.local.bigquery.errors import invalid

Field = dict[str, Any]
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
#: BigQuery's type names, legacy and standard, to DuckDB's.
DUCK_TYPES = {
    "STRING": "VARCHAR",
    "BYTES": "BLOB",
    "INTEGER": "BIGINT",
    "INT64": "BIGINT",
    "FLOAT": "DOUBLE",
    "FLOAT64": "DOUBLE",
    "NUMERIC": "DECIMAL(38,9)",
    "BOOLEAN": "BOOLEAN",
    "BOOL": "BOOLEAN",
    "TIMESTAMP": "TIMESTAMPTZ",
    "DATE": "DATE",
    "TIME": "TIME",
    "DATETIME": "TIMESTAMP",
}

#: Standard names of types to the legacy ones that schemas are shown with.
LEGACY = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN"}


def schema_fields(schema: pa.Schema) -> list[Field]:
    """The schema as ``TableSchema.fields``."""
    return [field(f) for f in schema]


def field(f: pa.Field) -> Field:
    """One Arrow field as ``TableFieldSchema``."""
    kind, mode = f.type, "NULLABLE"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind, mode = kind.value_type, "REPEATED"
    if pa.types.is_struct(kind):
        return {"name": f.name, "type": "RECORD", "mode": mode, "fields": [field(inner) for inner in kind]}
    return {"name": f.name, "type": _name(kind), "mode": mode}


def _name(kind: pa.DataType) -> str:
    whole = pa.types.is_decimal(kind) and kind.scale == 0
    tests = (
        (pa.types.is_boolean(kind), "BOOLEAN"),
        (pa.types.is_integer(kind) or whole, "INTEGER"),
        (pa.types.is_floating(kind), "FLOAT"),
        (pa.types.is_decimal(kind), "NUMERIC"),
        (pa.types.is_date(kind), "DATE"),
        (pa.types.is_time(kind), "TIME"),
        (pa.types.is_binary(kind) or pa.types.is_large_binary(kind), "BYTES"),
    )
    for holds, name in tests:
        if holds:
            return name
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP" if kind.tz else "DATETIME"
    return "STRING"


def cell(value: Any, f: Field) -> dict[str, Any]:
    """One value as ``{"v": ...}``."""
    if f["mode"] == "REPEATED":
        return {"v": [{"v": _encoded(item, f)} for item in value or []]}
    return {"v": _encoded(value, f)}


def _encoded(value: Any, f: Field) -> Any:
    if value is None:
        return None
    if f["type"] == "RECORD":
        return {"f": [cell(value[inner["name"]], inner) for inner in f["fields"]]}
    if isinstance(value, bool):
        return "true" if value else "false"
    if f["type"] == "TIMESTAMP":
        return str((value - EPOCH) // datetime.timedelta(microseconds=1))
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, decimal.Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(value)


def row(values: Mapping[str, Any], fields: list[Field]) -> dict[str, Any]:
    """One row as ``{"f": [...]}``."""
    return {"f": [cell(values[f["name"]], f) for f in fields]}


def parameter(kind: Mapping[str, Any], value: Mapping[str, Any]) -> Any:
    """A query parameter's Python value."""
    name = kind["type"]
    if name == "ARRAY":
        return [parameter(kind["arrayType"], item) for item in value.get("arrayValues") or []]
    if name == "STRUCT":
        given = value.get("structValues") or {}
        return {part["name"]: parameter(part["type"], given[part["name"]]) for part in kind["structTypes"]}
    text = value.get("value")
    if text is None:
        return None
    readers: Mapping[str, Any] = {
        "INT64": int,
        "INTEGER": int,
        "FLOAT64": float,
        "FLOAT": float,
        "NUMERIC": decimal.Decimal,
        "BOOL": lambda t: str(t).lower() == "true",
        "BOOLEAN": lambda t: str(t).lower() == "true",
        "DATE": datetime.date.fromisoformat,
        "DATETIME": datetime.datetime.fromisoformat,
        "TIMESTAMP": lambda t: datetime.datetime.fromisoformat(str(t).replace("Z", "+00:00").replace(" UTC", "+00:00")),
        "BYTES": base64.b64decode,
        "STRING": str,
    }
    if name not in readers:
        raise invalid(f"parameter type {name} is not served by this stand-in")
    return readers[name](text)


def duck_type(f: Mapping[str, Any]) -> str:
    """A ``TableFieldSchema`` as DuckDB's type."""
    kind = f["type"].upper()
    if kind in ("RECORD", "STRUCT"):
        inner = ", ".join(f'"{part["name"]}" {duck_type(part)}' for part in f["fields"])
        name = f"STRUCT({inner})"
    elif kind in DUCK_TYPES:
        name = DUCK_TYPES[kind]
    else:
        raise invalid(f"column {f['name']}: type {kind} is not served by this stand-in")
    return f"{name}[]" if f.get("mode") == "REPEATED" else name
