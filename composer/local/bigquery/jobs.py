"""Jobs: queries and loads, done when they are inserted, remembered while the server lives."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from composer.local.bigquery import functions, types
from composer.local.bigquery.catalog import KEPT, SETUP, Catalog, reference, table_name
from composer.local.bigquery.dialect import Statement, TableName, translate
from composer.local.bigquery.errors import ApiError, invalid, invalid_query, not_found

KEEP_JOBS = 500
ANONYMOUS = "_anonymous"
READERS = {"PARQUET": "read_parquet", "CSV": "read_csv_auto", "NEWLINE_DELIMITED_JSON": "read_json_auto"}


@dataclass
class Job:
    """One job and what it found."""

    id: str
    project: str
    configuration: dict[str, Any]
    began: float
    table: pa.Table = field(default_factory=lambda: pa.table({}))
    statement: str = "SELECT"
    reads: tuple[TableName, ...] = ()
    bytes_processed: int = 0
    affected: int | None = None
    ended: float = 0.0
    error: ApiError | None = None
    destination: TableName | None = None

    @property
    def fields(self) -> list[types.Field]:
        """The result's schema."""
        return types.schema_fields(self.table.schema)

    def resource(self) -> dict[str, Any]:
        """The job as the REST API shows it."""
        status: dict[str, Any] = {"state": "DONE"}
        if self.error is not None:
            status |= {"errorResult": self.error.entry(), "errors": [self.error.entry()]}
        stamps = {name: str(int(at * 1000)) for name, at in (("creationTime", self.began), ("startTime", self.began))}
        statistics: dict[str, Any] = {**stamps, "endTime": str(int(self.ended * 1000))}
        statistics["totalBytesProcessed"] = str(self.bytes_processed)
        if "query" in self.configuration:
            statistics["query"] = {
                "statementType": self.statement,
                "totalBytesProcessed": str(self.bytes_processed),
                "totalBytesBilled": "0" if self.configuration.get("dryRun") else str(self.bytes_processed),
                "cacheHit": False,
                "referencedTables": [reference(t) for t in self.reads],
                "schema": {"fields": self.fields},
                **({"numDmlAffectedRows": str(self.affected)} if self.affected is not None else {}),
            }
        elif "copy" in self.configuration:
            statistics["copy"] = {"copiedRows": str(self.affected or 0)}
        else:
            statistics["load"] = {"outputRows": str(self.affected or 0)}
        return {
            "kind": "bigquery#job",
            "id": f"{self.project}:US.{self.id}",
            "jobReference": {"projectId": self.project, "jobId": self.id, "location": "US"},
            "configuration": self.configuration,
            "status": status,
            "statistics": statistics,
            "user_email": "stand-in@localhost",
        }


class Warehouse:
    """The DuckDB file and the jobs. Reads run beside each other; writes one after the other."""

    def __init__(self, folder: Path, project: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.project = project
        # The file's stem is the catalog's name, so that `project.dataset.table` needs no translation.
        self._database = duckdb.connect(str(folder / f"{project}.duckdb"))
        self._database.execute(SETUP).fetchall()
        functions.register(self._database)
        self._writing = threading.RLock()
        self._lock = threading.Lock()
        self._jobs: collections.OrderedDict[str, Job] = collections.OrderedDict()

    @contextlib.contextmanager
    def reading(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, Catalog]]:
        """A connection of one's own."""
        with self._lock:
            cursor = self._database.cursor()
        try:
            # A result that is not fetched keeps the connection busy.
            cursor.execute(functions.MACROS).fetchall()
            yield cursor, Catalog(cursor, self.project)
        finally:
            cursor.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, Catalog]]:
        """A connection in a transaction: everything in the block happens, or nothing."""
        with self._writing, self.reading() as (cursor, catalog):
            cursor.begin()
            try:
                yield cursor, catalog
                cursor.commit()
            except BaseException:
                with contextlib.suppress(duckdb.Error):
                    cursor.rollback()
                raise

    def close(self) -> None:
        """Write everything to the file."""
        with self._writing:
            self._database.execute("CHECKPOINT").fetchall()
            self._database.close()

    def job(self, job_id: str) -> Job:
        """A job by its id."""
        with self._lock:
            found = self._jobs.get(job_id)
        if found is None:
            raise not_found("Job", f"{self.project}:US.{job_id}")
        return found

    def jobs(self) -> list[Job]:
        """All jobs that are remembered, newest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))

    def insert(self, body: Mapping[str, Any], upload: Path | None = None) -> Job:
        """Run a job to its end; what goes wrong in it is the job's error, not the request's.

        Raises:
            ApiError: 409 for an id that was used, 400 for a job of another kind.
        """
        configuration = dict(body["configuration"])
        job_id = (body.get("jobReference") or {}).get("jobId") or f"job_{uuid.uuid4().hex}"
        job = Job(id=job_id, project=self.project, configuration=configuration, began=time.time())
        with self._lock:
            if job_id in self._jobs:
                raise ApiError(409, "duplicate", f"Already Exists: Job {self.project}:US.{job_id}")
            if not configuration.get("dryRun"):
                self._jobs[job_id] = job
            while len(self._jobs) > KEEP_JOBS:
                self._jobs.popitem(last=False)
        try:
            if "query" in configuration:
                self._query(job)
            elif "copy" in configuration:
                self._copy(job)
            elif "load" in configuration and upload is not None:
                self._load(job, upload)
            else:
                raise invalid(f"jobs of kind {', '.join(configuration)} are not served by this stand-in")
        except ApiError as e:
            job.error = e
        except duckdb.Error as e:
            job.error = invalid_query(str(e).splitlines()[0])
        job.ended = time.time()
        if configuration.get("dryRun") and job.error is not None:
            raise job.error
        return job

    def _query(self, job: Job) -> None:
        query = job.configuration["query"]
        query.setdefault("useLegacySql", False)
        dataset = (query.get("defaultDataset") or {}).get("datasetId")
        statements = translate(query["query"], self.project, dataset)
        values = {
            p["name"]: types.parameter(p["parameterType"], p.get("parameterValue") or {})
            for p in query.get("queryParameters") or []
            if p.get("name")
        }
        job.statement = statements[-1].kind if len(statements) == 1 else "SCRIPT"
        job.reads = tuple(dict.fromkeys(t for s in statements for t in s.reads))
        with self.reading() as (cursor, catalog):
            for statement in statements:
                if len(statements) == 1:
                    for table in statement.reads:
                        catalog.require(table)
                existing = [t for t in statement.reads if catalog.has(t)]
                job.bytes_processed += sum(catalog.bytes(t, statement.columns) for t in existing)
            self._check_billing(job, query)
            if job.configuration.get("dryRun"):
                first = statements[0]
                if first.kind == "SELECT":
                    job.table = _executed(cursor, f"SELECT * FROM ({first.sql}) LIMIT 0", first.sql, values)
                return
        self._run(job, query, statements, values)
        if "destinationTable" not in query:
            query["destinationTable"] = {
                "projectId": self.project,
                "datasetId": ANONYMOUS,
                "tableId": "anon" + job.id.replace("-", ""),
            }

    @staticmethod
    def _check_billing(job: Job, query: Mapping[str, Any]) -> None:
        limit = query.get("maximumBytesBilled")
        if limit is not None and job.bytes_processed > int(limit):
            message = f"Query exceeded limit for bytes billed: {limit}. {job.bytes_processed} or higher required."
            raise ApiError(400, "bytesBilledLimitExceeded", message)

    def _run(self, job: Job, query: Mapping[str, Any], statements: list[Statement], values: Mapping[str, Any]) -> None:
        if "destinationTable" in query:
            self._into(job, query, statements[-1], values)
            return
        if all(s.kind == "SELECT" for s in statements):
            with self.reading() as (cursor, _):
                for statement in statements:
                    job.table = _executed(cursor, statement.sql, statement.sql, values)
            return
        with self.writing() as (cursor, catalog):
            for statement in statements:
                self._write(job, cursor, catalog, statement, values)

    def _into(self, job: Job, query: Mapping[str, Any], statement: Statement, values: Mapping[str, Any]) -> None:
        if statement.kind != "SELECT":
            raise invalid_query(f"Cannot set destination table in jobs with {statement.kind} statements")
        table = job.destination = table_name(query["destinationTable"], self.project)
        facts = {k: query[k] for k in ("rangePartitioning", "timePartitioning", "clustering") if k in query}
        with self.writing() as (cursor, catalog):
            catalog.require_dataset(table.dataset)
            _write_table(cursor, catalog, table, query.get("writeDisposition") or "WRITE_EMPTY", statement.sql, values)
            catalog.created(table, facts)
            job.table = cursor.sql(f"SELECT * FROM {table.sql} LIMIT 0").to_arrow_table()
            job.affected = None

    def _write(
        self,
        job: Job,
        cursor: duckdb.DuckDBPyConnection,
        catalog: Catalog,
        statement: Statement,
        values: Mapping[str, Any],
    ) -> None:
        if statement.kind in ("BEGIN_TRANSACTION", "COMMIT_TRANSACTION"):
            return  # a script is one transaction already
        for table in statement.reads:
            catalog.require(table)
        if statement.writes is not None and statement.kind in ("INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE_TABLE"):
            catalog.require(statement.writes)
        if statement.writes is not None and statement.kind.startswith("CREATE_TABLE"):
            catalog.require_dataset(statement.writes.dataset)
        found = _executed(cursor, statement.sql, statement.sql, values)
        if statement.kind == "SELECT":
            job.table = found
        elif statement.kind in ("INSERT", "UPDATE", "DELETE", "MERGE") and found.num_rows:
            job.affected = int(found.column(0)[0].as_py())
        for more in statement.then:
            job.affected = (job.affected or 0) + int(_executed(cursor, more, more, values).column(0)[0].as_py())
        if statement.writes is not None and statement.kind.startswith("CREATE_TABLE"):
            catalog.created(statement.writes, {})

    def _copy(self, job: Job) -> None:
        """One table; how it is partitioned and clustered goes along, when it expires does not."""
        copy = job.configuration["copy"]
        sources = copy.get("sourceTables") or [copy["sourceTable"]]
        if len(sources) != 1:
            raise invalid("copies of several tables are not served by this stand-in")
        source = table_name(sources[0], self.project)
        table = job.destination = table_name(copy["destinationTable"], self.project)
        with self.writing() as (cursor, catalog):
            catalog.require(source)
            catalog.require_dataset(table.dataset)
            disposition = copy.get("writeDisposition") or "WRITE_EMPTY"
            _write_table(cursor, catalog, table, disposition, f"SELECT * FROM {source.sql}", {})
            facts = catalog.facts(source.dataset, source.table)
            kept = ("rangePartitioning", "timePartitioning", "clustering")
            catalog.created(table, {k: facts[k] for k in kept if k in facts})
            job.affected = catalog.rows(table)

    def _load(self, job: Job, upload: Path) -> None:
        load = job.configuration["load"]
        table = job.destination = table_name(load["destinationTable"], self.project)
        reader = READERS.get(load.get("sourceFormat") or "CSV")
        if reader is None:
            raise invalid(f"source format {load['sourceFormat']} is not served by this stand-in")
        path = str(upload).replace("'", "''")
        source = f"{reader}('{path}')"
        with self.writing() as (cursor, catalog):
            catalog.require_dataset(table.dataset)
            found = cursor.sql(f"SELECT * FROM {source} LIMIT 0").to_arrow_table()
            wanted = (load.get("schema") or {}).get("fields") or types.schema_fields(found.schema)
            columns = ", ".join(f'CAST("{f["name"]}" AS {types.duck_type(f)}) AS "{f["name"]}"' for f in wanted)
            disposition = load.get("writeDisposition") or "WRITE_APPEND"
            _write_table(cursor, catalog, table, disposition, f"SELECT {columns} FROM {source}", {})
            old = catalog.facts(table.dataset, table.table)
            catalog.created(table, {k: v for k, v in {**old, **load}.items() if k in KEPT})
            job.affected = catalog.rows(table)


def _write_table(
    cursor: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    table: TableName,
    disposition: str,
    sql: str,
    values: Mapping[str, Any],
) -> None:
    exists = catalog.has(table)
    if exists and disposition == "WRITE_EMPTY" and catalog.rows(table):
        raise ApiError(409, "duplicate", f"Already Exists: Table {table}")
    if exists and disposition == "WRITE_APPEND":
        _executed(cursor, f"INSERT INTO {table.sql} BY NAME {sql}", sql, values)
    else:
        _executed(cursor, f"CREATE OR REPLACE TABLE {table.sql} AS {sql}", sql, values)


def _executed(cursor: duckdb.DuckDBPyConnection, sql: str, mentioned: str, values: Mapping[str, Any]) -> pa.Table:
    used = {name: value for name, value in values.items() if f"${name}" in mentioned}
    try:
        # `sql` gives a relation, whose Arrow output is not copied; statements without rows give None.
        found = cursor.sql(sql, params=used) if used else cursor.sql(sql)
        return pa.table({}) if found is None else found.to_arrow_table()
    except duckdb.InvalidInputException as e:
        if "parameter" in str(e).lower():
            raise invalid_query(f"Query parameter not found: {e}") from e
        raise
