"""Raw tables from a source: checked against their suites, then merged, each race replaced as a whole.

Every file is checked and converted before anything is loaded, and every raw table changes by one statement. A process
that is killed at any moment leaves each raw table as it was, or whole and new.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from f1_training.bigquery import sql
from f1_training.bigquery.sql import Fragment, Query
from f1_training.core.results import Check, CheckResult, Severity
from f1_training.core.settings import Settings
from f1_training.data.parquet import plain
from f1_training.data.sources import Found, Part, PartError, declared
from f1_training.data.suite import Suite, raw_suites

log = logging.getLogger(__name__)


class Tables(Protocol):
    """What is asked of the warehouse."""

    def ensure_dataset(self, name: str, *, expires: bool = True) -> None:
        """Make a dataset where it is missing."""

    def ensure_table(self, table: str, columns: Mapping[str, str], clustered_by: Sequence[str]) -> None:
        """Make a table, or add columns to it."""

    def load(self, file: BinaryIO, table: str, columns: Mapping[str, str]) -> int:
        """Replace a table by a Parquet file."""

    def execute(self, query: Query, what: str) -> int:
        """Run a statement that changes a table."""

    def drop(self, table: str) -> None:
        """Delete a table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Rows of one raw table, converted and ready to be loaded. ``groups`` are the races, say, that they replace."""

    suite: Suite
    file: BinaryIO
    rows: int
    groups: tuple[str, ...]


def raw_table(settings: Settings, name: str) -> str:
    """Full name of a raw table."""
    return f"{settings.project}.{settings.datasets.raw}.{name}"


def prepare(found: Found) -> tuple[list[Batch], list[CheckResult]]:
    """Read and convert all of a source; nothing is loaded.

    Returns the batches, none where a check has failed, and every check of every part.
    """
    by_table: dict[str, list[Part]] = {}
    for part in found.parts:
        by_table.setdefault(part.table, []).append(part)
    results: list[CheckResult] = []
    readable: dict[str, list[Part]] = {}
    for table, parts in by_table.items():
        for part in parts:
            checked = _schema_checks(raw_suites()[table], part)
            results += checked
            if not any(result.failed for result in checked):
                readable.setdefault(table, []).append(part)
    batches: list[Batch] = []
    if not any(result.failed for result in results):
        for table, parts in readable.items():
            batch, checked = _batch(raw_suites()[table], parts)
            results += checked
            batches += [batch] if batch else []
    if any(result.failed for result in results):
        for batch in batches:
            batch.file.close()
        return [], results
    return batches, results


def merge_all(
    warehouse: Tables, settings: Settings, batches: Sequence[Batch], *, replace_all: bool = False
) -> Iterator[str]:
    """Merge every batch, one after the other; with ``replace_all`` nothing else stays in their tables.

    Yields what was done, in words.

    Raises:
        TrainingFailure: what BigQuery refused; a raw table that it concerns is as it was.
    """
    with contextlib.ExitStack() as files:
        for batch in batches:
            files.enter_context(batch.file)
        for batch in batches:
            yield _merge(warehouse, settings, batch, replace_all=replace_all)


def _merge(warehouse: Tables, settings: Settings, batch: Batch, *, replace_all: bool = False) -> str:
    suite = batch.suite
    columns = {name: column.type.value for name, column in suite.columns.items()}
    target = raw_table(settings, suite.name)
    staged = f"{settings.project}.{settings.datasets.candidates}.ingest_{suite.name}_{uuid.uuid4().hex[:12]}"
    warehouse.ensure_dataset(settings.datasets.candidates)
    warehouse.ensure_dataset(settings.datasets.raw, expires=False)
    warehouse.ensure_table(target, columns, (suite.group,))
    warehouse.load(batch.file, staged, columns)
    text = sql.render(
        sql.load("ingest/merge.sql"),
        {
            "raw_table": sql.table(target),
            "batch_table": sql.table(staged),
            "group_column": sql.column(suite.group),
            "columns": Fragment(", ".join(sql.column(name).text for name in columns)),
        },
    )
    query = Query(sql=text, parameters={"groups": ("STRING", batch.groups), "replace_all": ("BOOL", replace_all)})
    changed = warehouse.execute(query, target)
    warehouse.drop(staged)
    return f"{target}: {batch.rows:,} rows of {len(batch.groups)} {suite.group}s merged ({changed:,} rows written)"


def _schema_checks(suite: Suite, part: Part) -> list[CheckResult]:
    try:
        schema = part.schema()
    except PartError as e:
        return [_schema(suite, "", str(e), passed=False)]
    results = []
    for name, column in suite.columns.items():
        if name not in schema.names:
            if not column.optional:
                results.append(_schema(suite, name, f"the column in {part.name}, which lacks it", passed=False))
            continue
        kind = schema.field(name).type
        expected = f"{column.type} in {part.name}"
        fits = column.type.admits(kind)
        results.append(_schema(suite, name, expected if fits else f"{expected}, where it is {kind}", passed=fits))
    for name in schema.names:
        if name not in suite.columns:
            expected = f"no such column; it is not loaded from {part.name}"
            results.append(_schema(suite, name, expected, passed=False, severity=Severity.WARN))
    return results


def _schema(
    suite: Suite, column: str, expected: str, *, passed: bool, severity: Severity = Severity.FAIL
) -> CheckResult:
    return CheckResult(
        check=Check.SCHEMA,
        split=suite.name,
        column=column,
        passed=passed,
        value=float(passed),
        expected=expected,
        severity=severity,
    )


def _batch(suite: Suite, parts: Sequence[Part]) -> tuple[Batch | None, list[CheckResult]]:
    """Convert the parts of one table into one file. A race that several bring is taken from the last of them."""
    schema = pa.schema([(name, column.type.arrow) for name, column in suite.columns.items()])
    file = tempfile.TemporaryFile(prefix=f"f1-{suite.name}-")  # noqa: SIM115 - it outlives this function
    rows = 0
    try:
        owner = {group: number for number, part in enumerate(parts) for group in _groups(suite, part)}
        with pq.ParquetWriter(file, schema, compression="snappy", store_schema=False) as writer:
            for number, part in enumerate(parts):
                mine = pa.array(
                    [group for group, last in owner.items() if last == number], schema.field(suite.group).type
                )
                for batch in _converted(suite, part, schema):
                    kept = batch.filter(pc.is_in(batch[suite.group], value_set=mine))
                    writer.write_batch(kept)
                    rows += kept.num_rows
    except PartError as e:
        file.close()
        return None, [_schema(suite, getattr(e, "column", ""), str(e), passed=False)]
    except BaseException:
        file.close()
        raise
    file.seek(0)
    names = ", ".join(part.name for part in parts)
    result = CheckResult(
        check=Check.ROWS, split=suite.name, passed=rows > 0, value=rows, expected=f"1 row or more in {names}"
    )
    return Batch(suite=suite, file=file, rows=rows, groups=tuple(sorted(owner))), [result]


def _groups(suite: Suite, part: Part) -> set[str]:
    found: set[str] = set()
    for batch in part.batches([suite.group]):
        column = batch[suite.group]
        if column.null_count:
            raise _ColumnError(
                suite.group, f"a {suite.group} in every row of {part.name}; remove or fill those without"
            )
        found.update(str(value) for value in pc.unique(column).to_pylist())
    return found


def _converted(suite: Suite, part: Part, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    names = declared(suite, part.schema())
    for batch in part.batches(names):
        table = plain(pa.Table.from_batches([batch]))
        columns: list[Any] = []
        for field in schema:
            if field.name not in names:
                columns.append(pa.nulls(batch.num_rows, field.type))
                continue
            try:
                columns.append(pc.cast(table[field.name], field.type).combine_chunks())
            except pa.ArrowException as e:
                kind, problem = suite.columns[field.name].type, str(e).splitlines()[0]
                raise _ColumnError(field.name, f"{kind} values in {part.name}: {problem}") from e
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


class _ColumnError(PartError):
    """A column does not hold what it must."""

    def __init__(self, column: str, expected: str) -> None:
        super().__init__(expected)
        self.column = column
