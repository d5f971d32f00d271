"""The Storage Read API over gRPC: sessions, and streams of Arrow batches that can be read again from an offset."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass
from typing import Any

import duckdb
import grpc
from google.cloud.bigquery_storage_v1 import types

from composer.local.bigquery.dialect import TableName, restriction_sql
from composer.local.bigquery.errors import ApiError
from composer.local.bigquery.jobs import ANONYMOUS, Warehouse

SERVICE = "google.cloud.bigquery.storage.v1.BigQueryRead"
BATCH_ROWS = 16_384
ROWS_A_STREAM = 100_000
MAX_STREAMS = 8


@dataclass(frozen=True, slots=True)
class Stream:
    """What one stream reads: SQL, and how many rows that gives."""

    sql: str


class StorageRead:
    """The two calls that readers use."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._streams: dict[str, Any] = {}
        self._lock = threading.Lock()

    def create_read_session(self, request: Any, context: Any) -> Any:
        """Check table, columns and restriction, and deal the rows to streams."""
        wanted = request.read_session
        _, project, _, dataset, _, name = wanted.table.split("/")
        table = TableName(project=project, dataset=dataset, table=name)
        try:
            if dataset == ANONYMOUS:
                return self._anonymous(wanted, name, context)
            return self._session(wanted, table, request.max_stream_count)
        except ApiError as e:
            code = grpc.StatusCode.NOT_FOUND if e.code == 404 else grpc.StatusCode.INVALID_ARGUMENT
            context.abort(code, e.message)
        except duckdb.Error as e:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(e).splitlines()[0])

    def read_rows(self, request: Any, context: Any) -> Iterator[Any]:
        """The stream's batches from ``offset`` on."""
        with self._lock:
            stream = self._streams.get(request.read_stream)
        if stream is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: {request.read_stream}")
            return
        if not isinstance(stream, Stream):
            yield from _responses(stream.slice(request.offset).to_batches(max_chunksize=BATCH_ROWS), stream.schema)
            return
        with self._warehouse.reading() as (cursor, _):
            reader = cursor.sql(f"{stream.sql} OFFSET {request.offset}").to_arrow_reader(BATCH_ROWS)
            yield from _responses(reader, reader.schema)

    def _session(self, wanted: Any, table: TableName, max_streams: int) -> Any:
        options = wanted.read_options
        with self._warehouse.reading() as (cursor, catalog):
            catalog.require(table)
            known = {f["name"] for f in catalog.fields(table)}
            missing = [c for c in options.selected_fields if c not in known]
            if missing:
                message = (
                    f"request failed: The following selected fields do not exist in the table schema: {missing[0]}"
                )
                raise ApiError(400, "invalid", message)
            columns = ", ".join(f'"{c}"' for c in options.selected_fields) or "*"
            condition = f"({restriction_sql(options.row_restriction)})" if options.row_restriction else "TRUE"
            base = f"SELECT {columns} FROM {table.sql} WHERE {condition}"
            schema = cursor.sql(f"{base} LIMIT 0").to_arrow_table().schema
            rows = catalog.rows(table)
        count = max(1, min(max_streams or MAX_STREAMS, MAX_STREAMS, -(-rows // ROWS_A_STREAM)))
        size = -(-rows // count) if rows else 1
        streams = [
            Stream(f"{base} AND rowid >= {i * size} AND rowid < {(i + 1) * size}" if count > 1 else base)
            for i in range(count)
        ]
        return self._answer(wanted, table.project, schema, streams, rows)

    def _anonymous(self, wanted: Any, name: str, context: Any) -> Any:
        """The result of a query without a destination: the newest job of that name has it in memory."""
        for job in self._warehouse.jobs():
            destination = (job.configuration.get("query") or {}).get("destinationTable") or {}
            if destination.get("tableId") == name:
                columns = list(wanted.read_options.selected_fields) or job.table.schema.names
                table = job.table.select(columns)
                return self._answer(wanted, job.project, table.schema, [table], table.num_rows)
        context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: {name}")
        return None

    def _answer(self, wanted: Any, project: str, schema: Any, streams: list[Any], rows: int) -> Any:
        session = f"projects/{project}/locations/us/sessions/{uuid.uuid4().hex}"
        names = [f"{session}/streams/{i}" for i in range(len(streams))]
        with self._lock:
            self._streams |= dict(zip(names, streams, strict=True))
        return types.ReadSession(
            name=session,
            table=wanted.table,
            data_format=types.DataFormat.ARROW,
            arrow_schema=types.ArrowSchema(serialized_schema=schema.serialize().to_pybytes()),
            read_options=wanted.read_options,
            estimated_row_count=rows,
            streams=[types.ReadStream(name=n) for n in names],
        )


def _responses(batches: Any, schema: Any) -> Iterator[Any]:
    serialized = types.ArrowSchema(serialized_schema=schema.serialize().to_pybytes())
    for number, batch in enumerate(batches):
        record = types.ArrowRecordBatch(serialized_record_batch=batch.serialize().to_pybytes())
        # Readers take the schema from the session, or from the first response.
        extra = {"arrow_schema": serialized} if number == 0 else {}
        yield types.ReadRowsResponse(arrow_record_batch=record, row_count=batch.num_rows, **extra)


def serve(warehouse: Warehouse, port: int) -> tuple[Any, int]:
    """Start the gRPC server; returns it and its port.

    Raises:
        OSError: the port is in use.
    """
    service = StorageRead(warehouse)
    options = [("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
    server = grpc.server(futures.ThreadPoolExecutor(16), options=options)
    methods = {
        "CreateReadSession": grpc.unary_unary_rpc_method_handler(
            service.create_read_session, types.CreateReadSessionRequest.deserialize, types.ReadSession.serialize
        ),
        "ReadRows": grpc.unary_stream_rpc_method_handler(
            service.read_rows, types.ReadRowsRequest.deserialize, types.ReadRowsResponse.serialize
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    try:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError as e:
        raise OSError(str(e)) from e
    server.start()
    return server, bound
