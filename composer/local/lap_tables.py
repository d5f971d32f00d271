"""BigQuery's ordinary client, on Google Cloud and on the stand-in alike, and datasets to try laps in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pyarrow as pa
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import Conflict
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery_storage import BigQueryReadClient

from f1_training.data.parquet import to_bytes
from f1_training.data.process import SeasonSplit, split_query
from f1_training.data.suite import Suite

#: Should a process die before it removes its staging dataset, BigQuery empties it after this long.
STAGING_EXPIRES_MS = 3_600_000
JOB_TIMEOUT_S = 300.0
CONNECT_TIMEOUT_S = 10.0


def connect(rest: str | None, project: str, location: str | None = None) -> bigquery.Client:
    """A client of the BigQuery at ``rest`` (an emulator's address, without credentials), or of the real one.

    Without ``rest`` the variable ``BIGQUERY_EMULATOR_HOST`` names one; without either it is Google Cloud with the
    default credentials. Datasets are made in ``location``.

    Raises:
        google.api_core.exceptions.GoogleAPIError: nothing answers there within 10 s.
    """
    emulator = rest or os.environ.get("BIGQUERY_EMULATOR_HOST")
    if not emulator:
        return bigquery.Client(project=project, location=location)
    client = bigquery.Client(
        project=project,
        location=location,
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=emulator),
    )
    # Jobs are retried for 10 minutes against a dead address, so ask once, with patience of our own.
    list(client.list_datasets(max_results=1, retry=Retry(timeout=CONNECT_TIMEOUT_S), timeout=CONNECT_TIMEOUT_S))
    return client


@contextlib.contextmanager
def staging(client: bigquery.Client, dataset: str) -> Iterator[Staging]:
    """A new dataset to build tables in, deleted with all it holds when the block ends.

    Raises:
        ValueError: ``dataset`` exists already: it may be somebody's, so it is not touched.
    """
    wanted = bigquery.Dataset(f"{client.project}.{dataset}")
    wanted.default_table_expiration_ms = STAGING_EXPIRES_MS
    try:
        client.create_dataset(wanted)
    except Conflict as e:
        raise ValueError(f"dataset {dataset!r} exists; name a new one, as it is deleted afterwards") from e
    try:
        yield Staging(client, wanted.reference)
    finally:
        client.delete_dataset(wanted.reference, delete_contents=True, not_found_ok=True)


class Staging:
    """The tables of one staging dataset."""

    def __init__(self, client: bigquery.Client, dataset: bigquery.DatasetReference) -> None:
        self._client = client
        self._dataset = dataset

    def upload(self, name: str, rows: pa.Table) -> None:
        """Load ``rows`` as the table ``name``."""
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET, write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE
        )
        job = self._client.load_table_from_file(to_bytes(rows), self._dataset.table(name), job_config=config)
        job.result(timeout=JOB_TIMEOUT_S)

    def process(self, suite: Suite, split: str, name: str) -> None:
        """Run the SQL of ``suite`` over the staged tables for ``split``, into the staged table ``name``."""
        folder = f"{self._dataset.project}.{self._dataset.dataset_id}"
        seasons = SeasonSplit(validation_season=0, test_season=0, by_season=False)
        query = split_query(suite, {table: f"{folder}.{table}" for table in suite.needs}, split, seasons)
        config = bigquery.QueryJobConfig(
            destination=self._dataset.table(name),
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            query_parameters=[bigquery.ScalarQueryParameter(n, *typed) for n, typed in query.parameters.items()],
        )
        self._client.query(query.sql, job_config=config).result(timeout=JOB_TIMEOUT_S)

    def rows(self, name: str, reader: BigQueryReadClient | None = None) -> pa.Table:
        """The staged table ``name``, in no order: by the Storage Read API with ``reader``, else by REST.

        REST takes some 10 s for 100,000 rows, the Storage Read API less than one.
        """
        table = self._client.get_table(self._dataset.table(name))
        # Never a reader of the client's own making: it would dial Google Cloud, whatever the client talks to.
        found: pa.Table = self._client.list_rows(table).to_arrow(bqstorage_client=reader, create_bqstorage_client=False)
        return found
