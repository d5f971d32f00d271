"""Datasets and tables: DuckDB schemas and tables, and what BigQuery knows about them beside, in the same file."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from composer.local.bigquery import types
from composer.local.bigquery.dialect import TableName
from composer.local.bigquery.errors import ApiError, not_found

SETUP = """
CREATE SCHEMA IF NOT EXISTS _stand_in;
CREATE TABLE IF NOT EXISTS _stand_in.facts (dataset VARCHAR, name VARCHAR, body VARCHAR, PRIMARY KEY (dataset, name));
"""
#: What a client may set on a table, and gets back.
KEPT = (
    "labels",
    "description",
    "expirationTime",
    "rangePartitioning",
    "timePartitioning",
    "clustering",
    "friendlyName",
)


class Catalog:
    """Looks at one DuckDB connection; made anew for each request, so that it sees what others committed."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, project: str) -> None:
        self._connection = connection
        self.project = project

    def datasets(self) -> list[str]:
        """Names of all datasets."""
        rows = self._connection.execute(
            "SELECT schema_name FROM information_schema.schemata WHERE catalog_name = ? ORDER BY 1", [self.project]
        ).fetchall()
        return [name for (name,) in rows if name not in ("_stand_in", "main", "information_schema", "pg_catalog")]

    def require_dataset(self, dataset: str) -> None:
        """Raise 404 unless there is such a dataset."""
        if dataset not in self.datasets():
            raise not_found("Dataset", f"{self.project}:{dataset}")

    def tables(self, dataset: str) -> list[str]:
        """Names of the dataset's tables that have not expired."""
        self.require_dataset(dataset)
        rows = self._connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_catalog = ? AND table_schema = ? ORDER BY 1",
            [self.project, dataset],
        ).fetchall()
        return [
            name for (name,) in rows if not self._expired(TableName(project=self.project, dataset=dataset, table=name))
        ]

    def has(self, table: TableName) -> bool:
        """Whether the table is there and has not expired."""
        if table.project != self.project:
            return False
        return table.dataset in self.datasets() and table.table in self.tables(table.dataset)

    def require(self, table: TableName) -> None:
        """Raise 404 unless the table is there."""
        if not self.has(table):
            raise not_found("Table", str(table))

    def facts(self, dataset: str, name: str = "") -> dict[str, Any]:
        """What is kept about a table, or about a dataset (without ``name``)."""
        found = self._connection.execute(
            "SELECT body FROM _stand_in.facts WHERE dataset = ? AND name = ?", [dataset, name]
        ).fetchall()
        return json.loads(found[0][0]) if found else {}

    def keep(self, dataset: str, name: str, facts: Mapping[str, Any]) -> None:
        """Keep facts about a table or dataset."""
        kept = {k: v for k, v in facts.items() if v is not None}
        self._connection.execute(
            "INSERT OR REPLACE INTO _stand_in.facts VALUES (?, ?, ?)", [dataset, name, json.dumps(kept)]
        ).fetchall()

    def forget(self, dataset: str, name: str | None = None) -> None:
        """Forget facts about a table, or about a dataset with all its tables."""
        where = "dataset = ?" if name is None else "dataset = ? AND name = ?"
        self._connection.execute(
            f"DELETE FROM _stand_in.facts WHERE {where}", [dataset, *([name] if name else [])]
        ).fetchall()

    def fields(self, table: TableName) -> list[types.Field]:
        """The table's schema."""
        empty = self._connection.sql(f"SELECT * FROM {table.sql} LIMIT 0").to_arrow_table()
        return types.schema_fields(empty.schema)

    def rows(self, table: TableName) -> int:
        """The number of rows."""
        found = self._connection.execute(f"SELECT COUNT(*) FROM {table.sql}").fetchall()
        return int(found[0][0])

    def resource(self, table: TableName) -> dict[str, Any]:
        """The table as the REST API shows it."""
        self.require(table)
        facts = self.facts(table.dataset, table.table)
        rows = self.rows(table)
        stamp = str(facts.get("changed", 0))
        return {
            "kind": "bigquery#table",
            "id": str(table).replace(":", ":", 1),
            "etag": f"{stamp}-{rows}",
            "tableReference": reference(table),
            "type": "TABLE",
            "location": "US",
            "schema": {"fields": self.fields(table)},
            "numRows": str(rows),
            "numBytes": str(self.bytes(table, None)),
            "creationTime": stamp,
            "lastModifiedTime": stamp,
            **{k: facts[k] for k in KEPT if k in facts},
        }

    def bytes(self, table: TableName, columns: frozenset[str] | None) -> int:
        """Logical bytes of the columns (None: all) about as BigQuery counts them: 8 a number, 1 a flag, 12 a text."""
        rows = self.rows(table)
        total = 0
        lowered = None if columns is None else {c.lower() for c in columns}
        for f in self.fields(table):
            if lowered is not None and f["name"].lower() not in lowered:
                continue
            total += rows * {"BOOLEAN": 1, "STRING": 12, "NUMERIC": 16}.get(f["type"], 8)
        return total

    def created(self, table: TableName, facts: Mapping[str, Any]) -> None:
        """Note a table that was just written; a dataset's default expiration applies to it."""
        default = self.facts(table.dataset).get("defaultTableExpirationMs")
        kept = {**facts, "changed": int(time.time() * 1000)}
        if default and "expirationTime" not in kept:
            kept["expirationTime"] = str(int(time.time() * 1000) + int(default))
        self.keep(table.dataset, table.table, kept)

    def drop(self, table: TableName) -> None:
        """Drop the table."""
        self.require(table)
        self._connection.execute(f"DROP TABLE {table.sql}").fetchall()
        self.forget(table.dataset, table.table)

    def create_dataset(self, name: str, body: Mapping[str, Any]) -> None:
        """Create a dataset.

        Raises:
            ApiError: 409 when there is one.
        """
        if name in self.datasets():
            raise ApiError(409, "duplicate", f"Already Exists: Dataset {self.project}:{name}")
        self._connection.execute(f'CREATE SCHEMA "{name}"').fetchall()
        self.keep(name, "", {k: body[k] for k in ("labels", "description", "defaultTableExpirationMs") if k in body})

    def delete_dataset(self, name: str, *, contents: bool) -> None:
        """Drop a dataset, with its tables only if ``contents``."""
        tables = self.tables(name)
        if tables and not contents:
            raise ApiError(400, "resourceInUse", f"Dataset {self.project}:{name} is still in use")
        self._connection.execute(f'DROP SCHEMA "{name}" CASCADE').fetchall()
        self.forget(name)

    def dataset_resource(self, name: str) -> dict[str, Any]:
        """A dataset as the REST API shows it."""
        self.require_dataset(name)
        return {
            "kind": "bigquery#dataset",
            "id": f"{self.project}:{name}",
            "datasetReference": {"projectId": self.project, "datasetId": name},
            "location": "US",
            **self.facts(name),
        }

    def create_table(self, table: TableName, fields: Sequence[Mapping[str, Any]], body: Mapping[str, Any]) -> None:
        """Create an empty table."""
        self.require_dataset(table.dataset)
        if self.has(table):
            raise ApiError(409, "duplicate", f"Already Exists: Table {table}")
        columns = ", ".join(f'"{f["name"]}" {types.duck_type(f)}' for f in fields)
        self._connection.execute(f"CREATE TABLE {table.sql} ({columns})").fetchall()
        self.created(table, {k: body[k] for k in KEPT if k in body})

    def add_columns(self, table: TableName, fields: Sequence[Mapping[str, Any]]) -> None:
        """Give the table the schema ``fields``, which may only add columns.

        Raises:
            ApiError: 400 when a column is missing from it, or of another type.
        """
        have = {f["name"].lower(): f["type"] for f in self.fields(table)}
        wanted = {f["name"].lower(): f for f in fields}
        for name, kind in have.items():
            given = types.LEGACY.get(wanted[name]["type"], wanted[name]["type"]) if name in wanted else None
            if given != kind:
                what = "is missing in new schema" if given is None else f"has changed type from {kind} to {given}"
                raise ApiError(400, "invalid", f"Provided Schema does not match Table {table}. Field {name} {what}")
        for name, f in wanted.items():
            if name not in have:
                self._connection.execute(
                    f'ALTER TABLE {table.sql} ADD COLUMN "{f["name"]}" {types.duck_type(f)}'
                ).fetchall()

    def _expired(self, table: TableName) -> bool:
        expires = self.facts(table.dataset, table.table).get("expirationTime")
        return expires is not None and int(expires) <= time.time() * 1000


def reference(table: TableName) -> dict[str, str]:
    """``TableReference``."""
    return {"projectId": table.project, "datasetId": table.dataset, "tableId": table.table}


def table_name(reference_body: Mapping[str, str], project: str) -> TableName:
    """The table that a ``TableReference`` names."""
    owner = reference_body.get("projectId") or project
    return TableName(project=owner, dataset=reference_body["datasetId"], table=reference_body["tableId"])
