"""BigQuery's REST API, version 2: routes and uploads, one thread a request."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
import threading
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb

from composer.local.bigquery import types
from composer.local.bigquery.catalog import KEPT, reference
from composer.local.bigquery.dialect import TableName
from composer.local.bigquery.errors import ApiError, invalid, invalid_query
from composer.local.bigquery.jobs import Job, Warehouse

BASE = re.compile(
    r"/(?P<upload>upload/|resumable/upload/)?(?:bigquery/v2/)?projects/(?P<project>[^/]+)(?:/(?P<rest>.*))?"
)
PAGE_ROWS = 50_000
INCOMPLETE = 308


class Uploads:
    """Files on their way in: on disk, never in memory."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder = folder
        self._jobs: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def begin(self, body: dict[str, Any]) -> str:
        """A resumable upload for the job ``body``; returns its id."""
        number = uuid.uuid4().hex
        with self._lock:
            self._jobs[number] = body
        self.path(number).touch()
        return number

    def path(self, number: str) -> Path:
        """The file of an upload."""
        return self._folder / number

    def job(self, number: str) -> dict[str, Any]:
        """The job that the upload is for."""
        with self._lock:
            if number not in self._jobs:
                raise ApiError(404, "notFound", f"Not found: upload {number}")
            return self._jobs[number]

    def end(self, number: str) -> None:
        """The upload was used."""
        with self._lock:
            self._jobs.pop(number, None)
        self.path(number).unlink(missing_ok=True)


class Api:
    """The calls, without HTTP."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse

    def route(self, method: str, path: list[str], query: Mapping[str, str], body: Any) -> Any:
        """The answer to one request below ``projects/{project}``.

        Raises:
            ApiError: what BigQuery would refuse.
        """
        handlers = {"jobs": self._jobs, "queries": self._queries, "datasets": self._datasets}
        if path[0] not in handlers:
            raise ApiError(404, "notFound", f"Not found: {'/'.join(path)}")
        return handlers[path[0]](method, path[1:], query, body)

    def _jobs(self, method: str, path: list[str], _query: Mapping[str, str], body: Any) -> Any:
        if not path:
            if method == "POST":
                return self.warehouse.insert(body).resource()
            return {"kind": "bigquery#jobList", "jobs": [j.resource() for j in self.warehouse.jobs()]}
        resource = self.warehouse.job(path[0]).resource()
        return {"kind": "bigquery#jobCancelResponse", "job": resource} if path[-1] == "cancel" else resource

    def _queries(self, method: str, path: list[str], query: Mapping[str, str], body: Any) -> Any:
        if method == "POST":
            kept = ("query", "queryParameters", "parameterMode", "useLegacySql", "defaultDataset", "maximumBytesBilled")
            configuration = {
                "query": {k: body[k] for k in kept if k in body},
                "dryRun": body.get("dryRun", False),
                "labels": body.get("labels") or {},
            }
            job = self.warehouse.insert({"configuration": configuration})
            query = {"maxResults": str(body["maxResults"])} if body.get("maxResults") else {}
        else:
            job = self.warehouse.job(path[0])
        if job.error is not None:
            raise job.error
        return self._results(job, query)

    def _results(self, job: Job, query: Mapping[str, str]) -> dict[str, Any]:
        if job.destination is not None:
            with self.warehouse.reading() as (_, catalog):
                total = catalog.rows(job.destination) if catalog.has(job.destination) else 0
            page = self._table_rows(job.destination, query)
        else:
            total = job.table.num_rows
            page = _page(total, query, lambda start, count: job.table.slice(start, count).to_pylist(), job.fields)
        return {
            "kind": "bigquery#queryResponse",
            "jobReference": job.resource()["jobReference"],
            "jobComplete": True,
            "schema": {"fields": job.fields},
            "totalRows": str(total),
            "totalBytesProcessed": str(job.bytes_processed),
            "cacheHit": False,
            **({"numDmlAffectedRows": str(job.affected)} if job.affected is not None else {}),
            **page,
        }

    def _datasets(self, method: str, path: list[str], query: Mapping[str, str], body: Any) -> Any:
        if len(path) >= 2:
            return self._tables(method, path[0], path[2:], query, body)
        if method == "GET" and not path:
            with self.warehouse.reading() as (_, catalog):
                return {
                    "kind": "bigquery#datasetList",
                    "datasets": [catalog.dataset_resource(n) for n in catalog.datasets()],
                }
        if method == "GET":
            with self.warehouse.reading() as (_, catalog):
                return catalog.dataset_resource(path[0])
        with self.warehouse.writing() as (_, catalog):
            if method == "POST":
                name = body["datasetReference"]["datasetId"]
                catalog.create_dataset(name, body)
                return catalog.dataset_resource(name)
            if method == "DELETE":
                catalog.delete_dataset(path[0], contents=query.get("deleteContents") == "true")
                return {}
            catalog.require_dataset(path[0])
            catalog.keep(path[0], "", {**catalog.facts(path[0]), **_settable(body)})
            return catalog.dataset_resource(path[0])

    def _tables(self, method: str, dataset: str, path: list[str], query: Mapping[str, str], body: Any) -> Any:
        project = self.warehouse.project
        if not path:
            if method == "POST":
                return self._create_table(dataset, body)
            with self.warehouse.reading() as (_, catalog):
                tables = [TableName(project=project, dataset=dataset, table=t) for t in catalog.tables(dataset)]
                listed = [{"id": str(t), "tableReference": reference(t), "type": "TABLE"} for t in tables]
                return {"kind": "bigquery#tableList", "tables": listed, "totalItems": len(listed)}
        table = TableName(project=project, dataset=dataset, table=path[0])
        if path[-1] == "data":
            return self._table_rows(table, query)
        if method == "GET":
            with self.warehouse.reading() as (_, catalog):
                return catalog.resource(table)
        with self.warehouse.writing() as (_, catalog):
            if method == "DELETE":
                catalog.drop(table)
                return {}
            catalog.require(table)
            if "schema" in body:
                catalog.add_columns(table, body["schema"].get("fields") or [])
            catalog.keep(dataset, table.table, {**catalog.facts(dataset, table.table), **_settable(body)})
            return catalog.resource(table)

    def _create_table(self, dataset: str, body: Any) -> Any:
        name = body["tableReference"]["tableId"]
        table = TableName(project=self.warehouse.project, dataset=dataset, table=name)
        with self.warehouse.writing() as (_, catalog):
            catalog.create_table(table, (body.get("schema") or {}).get("fields") or [], body)
            return catalog.resource(table)

    def _table_rows(self, table: TableName, query: Mapping[str, str]) -> dict[str, Any]:
        with self.warehouse.reading() as (cursor, catalog):
            catalog.require(table)
            fields, total = catalog.fields(table), catalog.rows(table)

            def rows(start: int, count: int) -> list[dict[str, Any]]:
                found = cursor.sql(f"SELECT * FROM {table.sql} LIMIT {count} OFFSET {start}").to_arrow_table()
                listed: list[dict[str, Any]] = found.to_pylist()
                return listed

            page = _page(total, query, rows, fields)
        return {"kind": "bigquery#tableDataList", "totalRows": str(total), **page}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    api: Api
    uploads: Uploads

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing."""

    def do_GET(self) -> None:
        """Any method comes here."""
        try:
            self._answer()
        except ApiError as e:
            self._send(e.code, e.body())
        except duckdb.Error as e:
            self._send(400, invalid_query(str(e).splitlines()[0]).body())
        except (KeyError, ValueError, TypeError) as e:
            self._send(400, invalid(f"{type(e).__name__}: {e}").body())
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _answer(self) -> None:
        url = urlsplit(self.path)
        query = {k: v[-1] for k, v in parse_qs(url.query).items()}
        found = BASE.fullmatch(url.path)
        if found is None:
            raise ApiError(404, "notFound", f"Not found: {url.path}")
        if found["project"] != self.api.warehouse.project:
            self._drain()
            raise ApiError(404, "notFound", f"Not found: Project {found['project']}")
        if found["upload"]:
            self._upload(query)
            return
        raw = self.rfile.read(self._length())
        body = json.loads(raw) if raw else None
        self._send(200, self.api.route(self.command, (found["rest"] or "").split("/"), query, body))

    def _upload(self, query: Mapping[str, str]) -> None:
        if "upload_id" in query:
            self._receive(query["upload_id"])
        elif query.get("uploadType") == "resumable":
            number = self.uploads.begin(json.loads(self.rfile.read(self._length())))
            where = f"http://{self.headers['Host']}{urlsplit(self.path).path}?upload_id={number}"
            self._send(200, {}, {"Location": where})
        else:
            self._multipart()

    def _receive(self, number: str) -> None:
        body, length = self.uploads.job(number), self._length()
        with self.uploads.path(number).open("ab") as f:
            while length > 0:
                part = self.rfile.read(min(length, 1 << 20))
                if not part:
                    raise invalid("the upload broke off")
                f.write(part)
                length -= len(part)
            size = f.tell()
        if self.headers.get("Content-Range", "").endswith("/*"):
            self._send(INCOMPLETE, {}, {"Range": f"bytes=0-{size - 1}"})
            return
        try:
            self._send(200, self.api.warehouse.insert(body, self.uploads.path(number)).resource())
        finally:
            self.uploads.end(number)

    def _multipart(self) -> None:
        found = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])
        if found is None:
            raise invalid("multipart without a boundary")
        _, meta, media, _ = self.rfile.read(self._length()).split(b"--" + found[1].encode(), 3)
        number = self.uploads.begin(json.loads(_part(meta)))
        self.uploads.path(number).write_bytes(_part(media))
        try:
            self._send(200, self.api.warehouse.insert(self.uploads.job(number), self.uploads.path(number)).resource())
        finally:
            self.uploads.end(number)

    def _length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            self.rfile.read(self._length())

    def _send(self, code: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    """The HTTP server on the loopback interface."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is nobody's mistake."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def __init__(self, port: int, warehouse: Warehouse, uploads: Uploads) -> None:
        bound = type("BoundHandler", (Handler,), {"api": Api(warehouse), "uploads": uploads})
        super().__init__(("127.0.0.1", port), bound)


def _page(total: int, query: Mapping[str, str], rows: Any, fields: list[types.Field]) -> dict[str, Any]:
    count = min(int(query.get("maxResults", PAGE_ROWS)), PAGE_ROWS)
    start = int(query.get("pageToken") or query.get("startIndex") or 0)
    if count == 0:
        return {}
    page: dict[str, Any] = {"rows": [types.row(values, fields) for values in rows(start, count)]}
    if start + count < total:
        page["pageToken"] = str(start + count)
    return page


def _settable(body: Mapping[str, Any]) -> dict[str, Any]:
    return {k: body[k] for k in (*KEPT, "defaultTableExpirationMs") if k in body}


def _part(raw: bytes) -> bytes:
    """The content of one part of a multipart body."""
    separator = b"\r\n\r\n" if b"\r\n\r\n" in raw else b"\n\n"
    content = raw.split(separator, 1)[1]
    return content[:-2] if content.endswith(b"\r\n") else content.removesuffix(b"\n")
