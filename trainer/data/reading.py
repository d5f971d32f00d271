"""The BigQuery Storage Read API: the only place that talks to it. Rows come as Arrow, in parallel streams."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from trainer.contract import FailureReason, TrainingFailure

if TYPE_CHECKING:
    import pyarrow as pa

#: As Google's other emulator variables: ``host:port`` of a server to talk to without credentials or encryption.
EMULATOR = "BIGQUERY_STORAGE_EMULATOR_HOST"
MAX_STREAMS = 8
CALL_S = 120.0


def storage_read_client() -> Any:
    """The client: application default credentials, or the emulator's address from the environment."""
    from google.cloud import bigquery_storage_v1

    host = os.environ.get(EMULATOR)
    if not host:
        return bigquery_storage_v1.BigQueryReadClient()
    import grpc
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    channel = grpc.insecure_channel(host, options=[("grpc.max_receive_message_length", -1)])
    return bigquery_storage_v1.BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))


def read_table(table: str, columns: Sequence[str], restriction: str, *, streams: int = MAX_STREAMS) -> pa.Table:
    """Columns of the rows of ``table`` that ``restriction`` (a SQL condition) admits, in no particular order.

    Args:
        table: ``project.dataset.table``.
        columns: names of the columns.
        restriction: such as ``split = 'train' AND shard IN (1, 2)``.
        streams: how many streams to read at once, at most.

    Raises:
        TrainingFailure: ``ConfigInvalid`` (no such table or column), ``PermissionDenied`` or ``NetworkTimeout``.
    """
    import pyarrow as pa
    from google.cloud.bigquery_storage_v1 import types

    project, dataset, name = table.split(".", 2)
    path = f"projects/{project}/datasets/{dataset}/tables/{name}"
    options = types.ReadSession.TableReadOptions(selected_fields=list(columns), row_restriction=restriction)
    wanted = types.ReadSession(table=path, data_format=types.DataFormat.ARROW, read_options=options)
    with _errors(table):
        client = storage_read_client()
        session = client.create_read_session(
            parent=f"projects/{project}", read_session=wanted, max_stream_count=streams, timeout=CALL_S
        )
        schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
        if not session.streams:
            return schema.empty_table().select(list(columns))

        def read(stream: Any) -> list[pa.RecordBatch]:
            # The reader goes on at its offset after a transient error.
            rows = client.read_rows(stream.name, timeout=None)
            return [
                pa.ipc.read_record_batch(pa.py_buffer(m.arrow_record_batch.serialized_record_batch), schema)
                for m in rows
            ]

        with ThreadPoolExecutor(len(session.streams)) as pool:
            batches = [batch for part in pool.map(read, session.streams) for batch in part]
    return pa.Table.from_batches(batches, schema).select(list(columns))


def count_rows(table: str, splits: Sequence[str], logical_shards: int) -> dict[str, tuple[int, ...]]:
    """Number of rows of each shard, by split, counted by reading only the columns ``split`` and ``shard``."""
    import pyarrow.compute as pc

    counts = {}
    for split in splits:
        shards = read_table(table, ["shard"], split_condition(split)).column("shard")
        found = {row["values"]: row["counts"] for row in pc.value_counts(shards).to_pylist()}
        stray = [s for s in found if s is None or not 0 <= s < logical_shards]
        if stray:
            message = f"{table}: split {split!r} has rows of shard {stray[0]}; the spec has {logical_shards} shards"
            raise TrainingFailure(FailureReason.DATA_INVALID, message)
        counts[split] = tuple(int(found.get(shard, 0)) for shard in range(logical_shards))
    return counts


def split_condition(split: str, shards: Sequence[int] | None = None) -> str:
    """The row restriction for a split, and for some of its shards; the split's name is quoted."""
    quoted = split.replace("\\", "\\\\").replace("'", "\\'")
    condition = f"split = '{quoted}'"
    if shards is None:
        return condition
    return f"{condition} AND shard IN ({', '.join(str(int(s)) for s in shards)})"


@contextlib.contextmanager
def _errors(table: str) -> Iterator[None]:
    from google.api_core import exceptions

    try:
        yield
    except (exceptions.NotFound, exceptions.InvalidArgument) as e:
        message = f"{table}: {e.message}; does the snapshot have the spec's columns, and has it not expired?"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e
    except (exceptions.Forbidden, exceptions.Unauthorized) as e:
        message = f"{table}: {e.message}; the pod's account needs bigquery.readSessionUser and dataViewer"
        raise TrainingFailure(FailureReason.PERMISSION_DENIED, message) from e
    except (exceptions.ServerError, exceptions.TooManyRequests, exceptions.RetryError, TimeoutError) as e:
        raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, f"{table}: BigQuery does not answer: {e}") from e
