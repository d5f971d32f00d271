"""BigQuery through Google's client: the only module that imports it. Its errors are turned into reasons here."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from f1_training.bigquery.sql import Query
from f1_training.core.settings import Settings
from trainer.contract import FailureReason, TrainingFailure

log = logging.getLogger(__name__)

QUERY_S = 3600.0
#: A request that fails for the moment is tried again for this long; Google's default is ten minutes.
REQUEST_RETRY_S = 120.0
#: Legacy names of types, with which BigQuery shows schemas, to the standard ones.
STANDARD = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}
#: Reasons in the body of a 403 that mean "not now" rather than "not you".
BUSY = ("quotaExceeded", "rateLimitExceeded", "jobRateLimitExceeded", "concurrentLimitExceeded")


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """A table to write, deleted after ``days``; range-partitioned by ``shard`` into ``logical_shards`` where given."""

    table: str
    days: int
    labels: Mapping[str, str]
    clustered_by: tuple[str, ...]
    logical_shards: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What a query wrote. ``created_at`` is RFC 3339 in UTC."""

    bytes_scanned: int
    created_at: str


class Warehouse:
    """The few things that are asked of BigQuery. ``client`` is a ``google.cloud.bigquery.Client``."""

    def __init__(
        self, client: Any, settings: Settings, *, labels: Mapping[str, str] | None = None, reservation: str = ""
    ) -> None:
        self._client = client
        self._settings = settings
        self._labels = labels or {}
        self._reservation = reservation

    @classmethod
    def connect(cls, settings: Settings, **options: Any) -> Warehouse:
        """Through Airflow's connection ``settings.gcp_conn_id``; every query has the ``labels`` and runs in the
        ``reservation`` of ``options``.

        Raises:
            TrainingFailure: ``PermissionDenied`` when there are no usable credentials.
        """
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook  # takes seconds to import

        with bigquery_errors(f"connection {settings.gcp_conn_id!r}"):
            hook = BigQueryHook(gcp_conn_id=settings.gcp_conn_id, location=settings.location, use_legacy_sql=False)
            client = hook.get_client(project_id=settings.project, location=settings.location)
            return cls(client, settings, **options)

    def ensure_dataset(self, name: str, *, expires: bool = True) -> None:
        """Make the dataset where it is missing; its tables expire by default, unless they are to stay."""
        from google.api_core.exceptions import NotFound
        from google.cloud import bigquery

        dataset = bigquery.Dataset(f"{self._settings.project}.{name}")
        dataset.location = self._settings.location
        if expires:
            dataset.default_table_expiration_ms = self._settings.snapshot_days * 86_400_000
        with bigquery_errors(f"dataset {name}"):
            try:
                # An account that may write to the dataset need not be allowed to create datasets in the project.
                self._client.get_dataset(dataset.reference, retry=_retry())
            except NotFound:
                self._client.create_dataset(dataset, exists_ok=True, retry=_retry())

    def write(self, query: Query, destination: Destination, job_id: str) -> Written:
        """Replace the destination by the query's rows, at one stroke; a job ``job_id`` that exists is adopted.

        Raises:
            TrainingFailure: what BigQuery refused.
        """
        from google.api_core.exceptions import Conflict

        config = self._config(query)
        self._into(config, destination)
        with bigquery_errors(destination.table):
            self._log_estimate(query, destination)
            try:
                # A failed job keeps its id, so the client could not try it again under the same one.
                job = self._query(query, config, job_id=job_id, job_retry=None)
            except Conflict:
                log.info("BigQuery job %s exists: adopting it", job_id)
                job = self._client.get_job(job_id, location=self._settings.location, retry=_retry())
            job.result(timeout=QUERY_S)
            self._label(destination)
        scanned = int(job.total_bytes_processed or 0)
        log.info(
            "%s is written; %s bytes scanned, %s billed", destination.table, f"{scanned:,}", job.total_bytes_billed
        )
        ended = job.ended or datetime.now(UTC)
        return Written(bytes_scanned=scanned, created_at=ended.astimezone(UTC).isoformat(timespec="seconds"))

    def rows(self, query: Query) -> list[dict[str, Any]]:
        """The rows of a small result.

        Raises:
            TrainingFailure: what BigQuery refused.
        """
        with bigquery_errors("a query"):
            job = self._query(query, self._config(query))
            rows = [dict(row.items()) for row in job.result(timeout=QUERY_S)]
        log.debug("%s bytes scanned", job.total_bytes_processed)
        return rows

    def estimated_bytes(self, query: Query) -> int:
        """How many bytes the query would scan. It is checked and not run, so it costs nothing.

        Raises:
            TrainingFailure: what BigQuery refused.
        """
        config = self._config(query)
        config.dry_run = True
        with bigquery_errors("a query"):
            return int(self._query(query, config).total_bytes_processed or 0)

    def execute(self, query: Query, what: str) -> int:
        """Run a statement that changes ``what``; how many rows it changed.

        Raises:
            TrainingFailure: what BigQuery refused; nothing has changed then.
        """
        with bigquery_errors(what):
            job = self._query(query, self._config(query))
            job.result(timeout=QUERY_S)
        return int(job.num_dml_affected_rows or 0)

    def columns(self, table: str) -> dict[str, str] | None:
        """The table's columns with their standard SQL types, None where there is no table."""
        from google.api_core.exceptions import NotFound

        with bigquery_errors(table):
            try:
                found = self._client.get_table(table, retry=_retry())
            except NotFound:
                return None
        return {f.name: STANDARD.get(f.field_type, f.field_type) for f in found.schema}

    def ensure_table(self, table: str, columns: Mapping[str, str], clustered_by: Sequence[str]) -> None:
        """Make the table, or add the columns that it lacks.

        Raises:
            TrainingFailure: ``ConfigInvalid`` when a column has another type.
        """
        from google.cloud import bigquery

        with bigquery_errors(table):
            wanted = bigquery.Table(table, schema=[bigquery.SchemaField(*column) for column in columns.items()])
            wanted.clustering_fields = list(clustered_by)
            found = self._client.create_table(wanted, exists_ok=True, retry=_retry())
            have = {f.name.lower(): STANDARD.get(f.field_type, f.field_type) for f in found.schema}
            other = [f"{c} is {have[c.lower()]}, not {t}" for c, t in columns.items() if have.get(c.lower(), t) != t]
            if other:
                message = (
                    f"{table} has columns of another type: {', '.join(other)}; rename the table, then ingest again"
                )
                raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
            missing = [bigquery.SchemaField(c, t) for c, t in columns.items() if c.lower() not in have]
            if missing:
                found.schema = [*found.schema, *missing]
                self._client.update_table(found, ["schema"], retry=_retry())

    def drop(self, table: str) -> None:
        """Delete a table; one that is not there is gone already.

        Raises:
            TrainingFailure: what BigQuery refused.
        """
        with bigquery_errors(table):
            self._client.delete_table(table, not_found_ok=True, retry=_retry())

    def load(self, file: BinaryIO, table: str, columns: Mapping[str, str]) -> int:
        """Replace ``table`` by a Parquet file, at one stroke; how many rows it has.

        Raises:
            TrainingFailure: what BigQuery refused.
        """
        from google.cloud import bigquery

        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            schema=[bigquery.SchemaField(*column) for column in columns.items()],
            labels=dict(self._labels),
        )
        with bigquery_errors(table):
            job = self._client.load_table_from_file(file, table, job_config=config, location=self._settings.location)
            job.result(timeout=QUERY_S)
        return int(job.output_rows or 0)

    def copy(self, source: str, destination: str) -> None:
        """Replace ``destination`` by ``source``, at one stroke and without a scan; it does not expire.

        Raises:
            TrainingFailure: what BigQuery refused.
        """
        from google.cloud import bigquery

        config = bigquery.CopyJobConfig(
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE, labels=dict(self._labels)
        )
        with bigquery_errors(destination):
            location = self._settings.location
            job = self._client.copy_table(source, destination, job_config=config, location=location, retry=_retry())
            job.result(timeout=QUERY_S)
            table = self._client.get_table(destination, retry=_retry())
            if table.expires is not None:
                table.expires = None
                self._client.update_table(table, ["expires"], retry=_retry())

    def _config(self, query: Query) -> Any:
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(
            query_parameters=[
                bigquery.ScalarQueryParameter(name, kind, value)
                if isinstance(value, str | int | float)
                else bigquery.ArrayQueryParameter(name, kind, list(value))
                for name, (kind, value) in query.parameters.items()
            ]
        )
        if self._settings.maximum_bytes_billed is not None:
            config.maximum_bytes_billed = self._settings.maximum_bytes_billed
        config.labels = dict(self._labels)
        if self._reservation:
            config.reservation = self._reservation
        return config

    @staticmethod
    def _into(config: Any, destination: Destination) -> None:
        from google.cloud import bigquery

        config.destination = bigquery.TableReference.from_string(destination.table)
        config.write_disposition = bigquery.WriteDisposition.WRITE_TRUNCATE
        if destination.logical_shards is not None:
            shards = bigquery.PartitionRange(start=0, end=destination.logical_shards, interval=1)
            config.range_partitioning = bigquery.RangePartitioning(field="shard", range_=shards)
        config.clustering_fields = list(destination.clustered_by)
        config.labels = {**config.labels, **destination.labels}

    def _log_estimate(self, query: Query, destination: Destination) -> None:
        log.info("%s: the query will scan %s bytes", destination.table, f"{self.estimated_bytes(query):,}")

    def _label(self, destination: Destination) -> None:
        table = self._client.get_table(destination.table, retry=_retry())
        table.expires = datetime.now(UTC) + timedelta(days=destination.days)
        table.labels = {**table.labels, **destination.labels}
        self._client.update_table(table, ["expires", "labels"], retry=_retry())

    def _query(self, query: Query, config: Any, **options: Any) -> Any:
        location = self._settings.location
        return self._client.query(query.sql, job_config=config, location=location, retry=_retry(), **options)


def _retry() -> Any:
    from google.cloud.bigquery import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(REQUEST_RETRY_S)


@contextlib.contextmanager
def bigquery_errors(what: str) -> Iterator[None]:
    """Turn what Google's client raises about ``what`` into :class:`TrainingFailure`; the unknown passes through."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError, TransportError
    from requests.exceptions import ConnectionError as RequestsConnectionError
    from requests.exceptions import Timeout

    try:
        yield
    except exceptions.GoogleAPICallError as e:
        reason, fix = _reason(e)
        raise TrainingFailure(reason, f"{what}: {' '.join(str(e.message).split())}{fix}") from e
    except (TransportError, RequestsConnectionError, Timeout, TimeoutError, exceptions.RetryError) as e:
        raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, f"{what}: BigQuery does not answer: {e}") from e
    except GoogleAuthError as e:
        fix = "; give the Airflow connection, or the environment, credentials that work"
        raise TrainingFailure(FailureReason.PERMISSION_DENIED, f"{what}: {e}{fix}") from e


def _reason(error: Any) -> tuple[FailureReason, str]:
    reasons = {str(part.get("reason")) for part in error.errors or [] if isinstance(part, Mapping)}
    code = int(error.code or 0)
    if reasons & set(BUSY) or code == 429:
        return FailureReason.RESOURCE_EXHAUSTED, "; BigQuery's quota is used up for now"
    if "bytesBilledLimitExceeded" in reasons:
        return FailureReason.CONFIG_INVALID, "; raise maximum_bytes_billed in the Variable f1_training, or read less"
    if code in (401, 403):
        return FailureReason.PERMISSION_DENIED, "; Airflow's account needs bigquery.jobUser and access to the dataset"
    if code == 404:
        return FailureReason.CONFIG_INVALID, "; is the table there, and does the Param name the right split?"
    if code >= 500 or code == 408:
        return FailureReason.NETWORK_TIMEOUT, ""
    return FailureReason.CONFIG_INVALID, "; do the catalogue's columns exist in the source tables?"
