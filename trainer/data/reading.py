"""The BigQuery Storage Read API: the only module that talks to it. Rows come as Arrow, in parallel streams.

A stream that breaks goes on at the row where it broke; what cannot be mended is told as a reason.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trainer.contract import FailureReason, TrainingFailure

#: As Google's other emulator variables: ``host:port`` of a server to talk to without credentials or encryption.
EMULATOR = "BIGQUERY_STORAGE_EMULATOR_HOST"
SPLIT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
MAX_STREAMS = 8
ATTEMPTS = 6
#: A call that is not over by then is made again where it stopped, so this also ends streams that hang.
CALL_S = 300.0
BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)

Convert = Callable[[pa.RecordBatch], pa.RecordBatch]


def storage_read_client(emulator: str | None = None) -> Any:
    """The client: application default credentials, or the server ``emulator``, which the environment may name.

    Raises:
        TrainingFailure: ``PermissionDenied`` when there are no credentials.
    """
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient

    return _connected(BigQueryReadClient, emulator)


def generated_client() -> Any:
    """The client below :func:`storage_read_client`, which leaves it to us how often to go on with a broken stream."""
    from google.cloud.bigquery_storage_v1.services.big_query_read import BigQueryReadClient

    return _connected(BigQueryReadClient, None)


def _connected(kind: Callable[..., Any], emulator: str | None) -> Any:
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    host = emulator or os.environ.get(EMULATOR)
    if host:
        import grpc

        channel = grpc.insecure_channel(host, options=[("grpc.max_receive_message_length", -1)])
        return kind(transport=BigQueryReadGrpcTransport(channel=channel))
    try:
        return kind()
    except DefaultCredentialsError as e:
        message = f"no Google credentials were found ({e}); give the pod a service account (Workload Identity)"
        raise TrainingFailure(FailureReason.PERMISSION_DENIED, message) from e


def unchanged(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Convert nothing."""
    return batch


@dataclass(frozen=True, kw_only=True, slots=True)
class TableReader:
    """Reads rows of ``table`` (``project.dataset.table``)."""

    table: str
    client: Any = field(default_factory=generated_client)
    streams: int = MAX_STREAMS
    sleep: Callable[[float], None] = time.sleep

    def read(self, columns: Sequence[str], restriction: str, convert: Convert = unchanged) -> pa.Table:
        """The rows that ``restriction`` admits, in no particular order.

        Args:
            columns: which to read; the result has them in this order.
            restriction: a condition in SQL, such as ``split = 'train' AND shard IN (1, 2)``.
            convert: applied to each batch on arrival, such as to make it smaller.

        Raises:
            TrainingFailure: ``DataInvalid`` (no such table or column), ``PermissionDenied``, ``NetworkTimeout``.
        """
        session = self._again(lambda: self._session(columns, restriction))
        schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
        names = [stream.name for stream in session.streams]
        if not names:
            return pa.Table.from_batches([convert(_empty(schema).select(list(columns)))])

        def read(name: str) -> list[pa.RecordBatch]:
            return [convert(batch.select(list(columns))) for batch in self._stream(name, schema)]

        with ThreadPoolExecutor(len(names), thread_name_prefix="read") as pool:
            batches = [batch for part in pool.map(read, names) for batch in part]
        return pa.Table.from_batches(batches or [convert(_empty(schema).select(list(columns)))])

    def _session(self, columns: Sequence[str], restriction: str) -> Any:
        from google.cloud.bigquery_storage_v1 import types

        project, dataset, name = self.table.rsplit(".", 2)  # a project's id may have dots
        session = types.ReadSession(
            table=f"projects/{project}/datasets/{dataset}/tables/{name}",
            data_format=types.DataFormat.ARROW,
            read_options=types.ReadSession.TableReadOptions(selected_fields=list(columns), row_restriction=restriction),
        )
        request = types.CreateReadSessionRequest(
            parent=f"projects/{project}", read_session=session, max_stream_count=self.streams
        )
        return self.client.create_read_session(request=request, retry=None, timeout=CALL_S)

    def _stream(self, name: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """All batches of a stream, each once, however often the stream breaks."""
        done = failures = 0
        while True:
            try:
                with self._errors():
                    for response in self.client.read_rows(read_stream=name, offset=done, retry=None, timeout=CALL_S):
                        serialized = response.arrow_record_batch.serialized_record_batch
                        batch = pa.ipc.read_record_batch(pa.py_buffer(serialized), schema)
                        yield batch
                        done, failures = done + batch.num_rows, 0
                return
            except _TransientError as e:
                failures = self._wait_after(failures, e)

    def _again(self, call: Callable[[], Any]) -> Any:
        failures = 0
        while True:
            try:
                with self._errors():
                    return call()
            except _TransientError as e:
                failures = self._wait_after(failures, e)

    def _wait_after(self, failures: int, error: _TransientError) -> int:
        if failures + 1 >= ATTEMPTS:
            message = f"{self.table}: BigQuery failed {ATTEMPTS} times in a row, at last with: {error}"
            raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, message) from error
        self.sleep(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
        return failures + 1

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError, TransportError

        try:
            yield
        except exceptions.NotFound as e:
            message = f"{self.table}: {e.message}; has the snapshot expired? Make a new one"
            raise TrainingFailure(FailureReason.DATA_INVALID, message) from e
        except (exceptions.BadRequest, exceptions.FailedPrecondition) as e:
            message = f"{self.table}: {e.message}; the snapshot must have the spec's features and target as columns"
            raise TrainingFailure(FailureReason.DATA_INVALID, message) from e
        except (exceptions.Forbidden, exceptions.Unauthorized) as e:
            message = (
                f"{self.table}: {e.message}; the pod's account needs roles/bigquery.readSessionUser on the project "
                "and roles/bigquery.dataViewer on the table"
            )
            raise TrainingFailure(FailureReason.PERMISSION_DENIED, message) from e
        except (exceptions.ServerError, exceptions.TooManyRequests, exceptions.Aborted, exceptions.RetryError) as e:
            raise _TransientError(str(e)) from e
        except TransportError as e:
            raise _TransientError(str(e)) from e
        except GoogleAuthError as e:
            raise TrainingFailure(FailureReason.PERMISSION_DENIED, f"{self.table}: {e}") from e


class _TransientError(Exception):
    """Worth another attempt."""


def split_condition(split: str, shards: Sequence[int] | None = None) -> str:
    """The row restriction for ``split``, and for some of its shards.

    Raises:
        TrainingFailure: ``ConfigInvalid`` for a name that cannot be a split's.
    """
    if not SPLIT_NAME.fullmatch(split):
        message = f"split {split!r}: only letters, digits and _ . - can be part of its name"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    condition = f"split = '{split}'"
    if shards is None:
        return condition
    return f"{condition} AND shard IN ({', '.join(str(int(s)) for s in shards)})"


def read_table(table: str, columns: Sequence[str], restriction: str) -> pa.Table:
    """The rows of ``table`` that ``restriction`` admits, in no particular order; see :meth:`TableReader.read`."""
    return TableReader(table=table).read(columns, restriction)


def count_rows(table: str, splits: Sequence[str], logical_shards: int) -> dict[str, tuple[int, ...]]:
    """Number of rows in each shard, by split, for a snapshot that nobody counted.

    Raises:
        TrainingFailure: ``DataInvalid`` when a row is of a shard that is not one of ``logical_shards``.
    """
    counts = {}
    for split in splits:
        shards = read_table(table, ["shard"], split_condition(split))["shard"]
        found = {pair["values"]: pair["counts"] for pair in pc.value_counts(shards).to_pylist()}
        stray = [shard for shard in found if shard is None or not 0 <= shard < logical_shards]
        if stray:
            message = f"{table}: split {split!r} has rows of shard {stray[0]}; there are {logical_shards} shards"
            raise TrainingFailure(FailureReason.DATA_INVALID, message)
        counts[split] = tuple(int(found.get(shard, 0)) for shard in range(logical_shards))
    return counts


def read_split(table: str, split: str, columns: Sequence[str]) -> pa.Table:
    """``columns`` of all rows of ``split``, ordered by shard and row key."""
    order = ["shard", "row_key"]
    wanted = list(dict.fromkeys((*columns, *order)))
    rows = read_table(table, wanted, split_condition(split))
    return rows.sort_by([(name, "ascending") for name in order]).select(list(columns))


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({name: [] for name in schema.names}, schema=schema)
