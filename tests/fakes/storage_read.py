"""``python -m tests.fakes.storage_read``: a BigQuery Storage Read API that serves Parquet files as tables.

Arguments are ``project.dataset.table=file.parquet``. It prints its port and ends when its standard input does, so it
never outlives who started it. Row restrictions are evaluated by DuckDB, whose SQL agrees with BigQuery's there.
"""

import os
import sys
import uuid
from collections.abc import Iterator
from concurrent import futures

import duckdb
import grpc
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types

SERVICE = "google.cloud.bigquery.storage.v1.BigQueryRead"


class Server:
    def __init__(self, tables: dict[str, str]) -> None:
        self.tables = tables
        self.streams: dict[str, pa.Table] = {}

    def create_session(
        self, request: types.CreateReadSessionRequest, context: grpc.ServicerContext
    ) -> types.ReadSession:
        wanted = request.read_session
        _, project, _, dataset, _, table = wanted.table.split("/")
        name = f"{project}.{dataset}.{table}"
        if name not in self.tables:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: Table {name}")
        fields = ", ".join(f'"{field}"' for field in wanted.read_options.selected_fields) or "*"
        condition = wanted.read_options.row_restriction or "TRUE"
        query = f"SELECT {fields} FROM read_parquet('{self.tables[name]}') WHERE {condition}"
        try:
            with duckdb.connect() as connection:
                rows = connection.sql(query).to_arrow_table()
        except duckdb.Error as e:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(e))
        stream = f"{request.parent}/locations/local/sessions/{uuid.uuid4().hex}/streams/0"
        self.streams[stream] = rows
        return types.ReadSession(
            name=stream.rsplit("/streams", 1)[0],
            table=wanted.table,
            data_format=types.DataFormat.ARROW,
            arrow_schema=types.ArrowSchema(serialized_schema=rows.schema.serialize().to_pybytes()),
            streams=[types.ReadStream(name=stream)] if rows.num_rows else [],
            estimated_row_count=rows.num_rows,
        )

    def read_rows(self, request: types.ReadRowsRequest, _: grpc.ServicerContext) -> Iterator[types.ReadRowsResponse]:
        rows = self.streams[request.read_stream]
        schema = types.ArrowSchema(serialized_schema=rows.schema.serialize().to_pybytes())
        for batch in rows.slice(request.offset).to_batches(max_chunksize=10_000):
            yield types.ReadRowsResponse(
                arrow_record_batch=types.ArrowRecordBatch(serialized_record_batch=batch.serialize().to_pybytes()),
                row_count=batch.num_rows,
                arrow_schema=schema,
            )


def main(arguments: list[str]) -> None:
    service = Server(dict(a.split("=", 1) for a in arguments))
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_send_message_length", -1)])
    handlers = {
        "CreateReadSession": grpc.unary_unary_rpc_method_handler(
            service.create_session, types.CreateReadSessionRequest.deserialize, types.ReadSession.serialize
        ),
        "ReadRows": grpc.unary_stream_rpc_method_handler(
            service.read_rows, types.ReadRowsRequest.deserialize, types.ReadRowsResponse.serialize
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    host = os.environ.get("STORAGE_READ_HOST", "127.0.0.1")
    sys.stdout.write(f"{server.add_insecure_port(f'{host}:0')}\n")
    sys.stdout.flush()
    server.start()
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main(sys.argv[1:])
