"""Answers recorded from real BigQuery, and how the stand-in's answers compare with them."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.api_core.exceptions import GoogleAPICallError
from google.cloud import bigquery


def read(path: Path) -> list[dict[str, Any]]:
    """One vector a line; lines that begin with # say where they come from."""
    return [json.loads(line) for line in path.read_text().splitlines() if line and not line.startswith("#")]


class Refused(Exception):
    """The stand-in says that it does not serve this: an honest answer."""


def answer(client: bigquery.Client, vector: dict[str, Any]) -> list[dict[str, Any]]:
    """The stand-in's rows for a vector, in a data set of its own.

    Raises:
        Refused: with the stand-in's words.
    """
    dataset = f"v_{uuid.uuid4().hex[:12]}"
    client.create_dataset(dataset)
    try:
        try:
            if vector.get("setup"):
                client.query(_placed(vector["setup"], client.project, dataset)).result(timeout=30)
            rows = client.query(_placed(vector["sql"], client.project, dataset)).result(timeout=30)
            return [{k: _plain(v) for k, v in row.items()} for row in rows]
        except GoogleAPICallError as e:
            raise Refused(str(e)) from e
    finally:
        client.delete_dataset(dataset, delete_contents=True)


def agrees(vector: dict[str, Any], rows: list[dict[str, Any]]) -> bool:
    """Whether the rows are those that BigQuery gave; in any order where the query does not order them."""
    expected = [{k: _plain(v) for k, v in row.items()} for row in vector["expected"]["rows"]]
    if "order by" not in vector["sql"].lower():
        expected, rows = (sorted(r, key=lambda x: json.dumps(x, sort_keys=True, default=str)) for r in (expected, rows))
    return len(expected) == len(rows) and all(_same(a, b) for a, b in zip(expected, rows, strict=True))


def _placed(sql: str, project: str, dataset: str) -> str:
    return sql.replace("${PROJECT}", project).replace("${DATASET}", dataset)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, decimal.Decimal):
        return str(value.normalize())
    return value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) or isinstance(b, float):
        return _number(a) is not None and _number(b) is not None and _close(_number(a), _number(b))
    if isinstance(a, str) and isinstance(b, str) and a != b:
        return _number(a) is not None and _number(a) == _number(b)
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _close(a: float | None, b: float | None) -> bool:
    assert a is not None
    assert b is not None
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def each(client: bigquery.Client, vectors: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Every vector with ``agrees``, ``refused`` or ``wrong``, and what was answered."""
    for vector in vectors:
        try:
            rows = answer(client, vector)
        except Refused as e:
            yield vector, "refused", str(e)
        else:
            yield vector, "agrees" if agrees(vector, rows) else "wrong", rows
