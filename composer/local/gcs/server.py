"""Cloud Storage's JSON API: routes and uploads, one thread a connection.

What it does not serve it refuses (compose, copy, versions, batches, other preconditions): a precondition that is
ignored would let a test pass that fails on the real service.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from composer.local.gcs.buckets import ApiError, Buckets

BASE = re.compile(r"/(?P<kind>upload/|download/)?storage/v1/b(?:/(?P<bucket>[^/]+)(?:/o(?:/(?P<name>[^/]+))?)?)?")
CONTENT_RANGE = re.compile(r"bytes (?:(?P<first>\d+)-(?P<last>\d+)|\*)/(?P<total>\d+|\*)")
CHUNK = 256 * 1024
INCOMPLETE, CANCELLED = 308, 499
SERVED = {
    "upload": {"uploadType", "upload_id", "name", "ifGenerationMatch"},
    "list": {"prefix", "delimiter", "maxResults", "pageToken"},
    "object": {"alt", "ifGenerationMatch"},
    "bucket": {"project"},
}

#: Asked with each request's method and path with its query: the HTTP status to answer instead, or None.
Faults = Callable[[str, str], int | None]


@dataclass(kw_only=True)
class Upload:
    """A resumable upload on its way: no object before its last byte."""

    bucket: str
    name: str
    content_type: str
    generation_match: int | None
    data: bytearray = field(default_factory=bytearray)


@dataclass(kw_only=True)
class Service:
    """What the handlers share. A request in ``faults`` is not carried out; one in ``lost`` is, and its answer lost."""

    buckets: Buckets
    faults: Faults
    lost: Faults
    uploads: dict[str, Upload] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A response; ``body`` is bytes, or JSON."""

    code: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Handler(BaseHTTPRequestHandler):
    """HTTP, and nothing else."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    service: Service

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing."""

    def do_GET(self) -> None:
        """Any method comes here."""
        try:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if len(body) == length:
                self._send(self._answer(body))
                return
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.close_connection = True

    do_POST = do_PUT = do_DELETE = do_GET

    def _answer(self, body: bytes) -> Answer:
        try:
            self._fail(self.service.faults)
            answer = self._route(body)
            self._fail(self.service.lost)
        except ApiError as e:
            return Answer(code=e.code, body=e.body())
        except (KeyError, ValueError) as e:
            return Answer(code=400, body=ApiError(400, "badRequest", f"{type(e).__name__}: {e}").body())
        return answer

    def _fail(self, faults: Faults) -> None:
        code = faults(self.command, self.path)
        if code is not None:
            raise ApiError(code, "backendError", "We encountered an internal error. Please try again.")

    def _route(self, body: bytes) -> Answer:
        url = urlsplit(self.path)
        query = {k: v[-1] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
        found = BASE.fullmatch(url.path)
        if found is None or "Transfer-Encoding" in self.headers:
            raise ApiError(400, "badRequest", f"{self.command} {url.path} is not served here")
        bucket, name = unquote(found["bucket"] or ""), unquote(found["name"] or "")
        if found["kind"] == "upload/":
            _refuse_others(query, "upload")
            return self._upload(bucket, query, body)
        if name:
            _refuse_others(query, "object")
            return self._object(bucket, name, query, media=bool(found["kind"]) or query.get("alt") == "media")
        if bucket and url.path.endswith("/o"):
            _refuse_others(query, "list")
            return self._list(bucket, query)
        _refuse_others(query, "bucket")
        return self._bucket(bucket, body)

    def _bucket(self, bucket: str, body: bytes) -> Answer:
        if self.command == "POST":
            bucket = json.loads(body)["name"]
            self.service.buckets.create_bucket(bucket)
        self.service.buckets.require_bucket(bucket)
        return Answer(body={"kind": "storage#bucket", "id": bucket, "name": bucket, "storageClass": "STANDARD"})

    def _list(self, bucket: str, query: Mapping[str, str]) -> Answer:
        page = self.service.buckets.list(
            bucket,
            query.get("prefix", ""),
            query.get("delimiter", ""),
            int(query.get("maxResults", 1000)),
            query.get("pageToken", ""),
        )
        items = [stored.resource(self._address) for stored in page.items]
        body: dict[str, Any] = {"kind": "storage#objects", "items": items, "prefixes": list(page.prefixes)}
        return Answer(body=body | ({"nextPageToken": page.next_token} if page.next_token else {}))

    def _object(self, bucket: str, name: str, query: Mapping[str, str], media: bool) -> Answer:
        buckets, match = self.service.buckets, _generation_match(query)
        if self.command == "DELETE":
            buckets.delete(bucket, name, match)
            return Answer(code=204)
        if self.command != "GET":
            raise ApiError(400, "badRequest", f"{self.command} of an object is not served here")
        buckets.check(bucket, name, match)
        if not media:
            return Answer(body=buckets.get(bucket, name).resource(self._address))
        stored, data = buckets.read(bucket, name)
        headers = {
            "Content-Type": stored.content_type,
            "X-Goog-Generation": str(stored.generation),
            "X-Goog-Hash": f"md5={stored.md5}",
        }
        return _part_of(data, self.headers.get("Range", ""), headers)

    def _upload(self, bucket: str, query: Mapping[str, str], body: bytes) -> Answer:
        if "upload_id" in query:
            return self._continue(query["upload_id"], body)
        match, kind = _generation_match(query), query["uploadType"]
        if kind == "resumable":
            return self._begin(bucket, query, json.loads(body or b"{}"))
        if kind == "media":
            name, content_type, data = query["name"], self.headers.get("Content-Type", ""), body
        elif kind == "multipart":
            described, content_type, data = _parts(self.headers["Content-Type"], body)
            name = query.get("name") or described["name"]
        else:
            raise ApiError(400, "badRequest", f"uploadType {kind} is not served here")
        stored = self.service.buckets.insert(bucket, name, data, content_type, match)
        return Answer(body=stored.resource(self._address))

    def _begin(self, bucket: str, query: Mapping[str, str], described: Mapping[str, str]) -> Answer:
        name, match = query.get("name") or described["name"], _generation_match(query)
        self.service.buckets.check(bucket, name, match)
        content_type = self.headers.get("X-Upload-Content-Type", "application/octet-stream")
        upload = Upload(bucket=bucket, name=name, content_type=content_type, generation_match=match)
        number = uuid.uuid4().hex
        with self.service.lock:
            self.service.uploads[number] = upload
        return Answer(headers={"Location": f"{self._address}{self.path}&upload_id={number}"})

    def _continue(self, number: str, body: bytes) -> Answer:
        with self.service.lock:
            upload = self.service.uploads.get(number)
            if upload is None:
                raise ApiError(404, "notFound", "No such upload")
            if self.command == "DELETE":
                del self.service.uploads[number]
                return Answer(code=CANCELLED)
            found = CONTENT_RANGE.fullmatch(self.headers["Content-Range"])
            if found is None:
                raise ApiError(400, "badRequest", f"Content-Range: {self.headers['Content-Range']}")
            if found["first"] is not None:
                # A chunk that is sent again replaces what came of it.
                if int(found["first"]) > len(upload.data) or int(found["last"]) - int(found["first"]) + 1 != len(body):
                    raise ApiError(400, "badRequest", "the chunk does not fit to what came before")
                upload.data[int(found["first"]) :] = body
            if found["total"] == "*" or len(upload.data) < int(found["total"]):
                if len(body) % CHUNK:
                    raise ApiError(400, "badRequest", f"a chunk that is not the last is a multiple of {CHUNK} bytes")
                received = {"Range": f"bytes=0-{len(upload.data) - 1}"} if upload.data else {}
                return Answer(code=INCOMPLETE, headers=received)
            data, type_, match = bytes(upload.data), upload.content_type, upload.generation_match
            stored = self.service.buckets.insert(upload.bucket, upload.name, data, type_, match)
            del self.service.uploads[number]
        return Answer(body=stored.resource(self._address))

    @property
    def _address(self) -> str:
        return f"http://{self.headers['Host']}"

    def _send(self, answer: Answer) -> None:
        data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.code)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        if answer.code != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    """The HTTP server on the loopback interface."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, service: Service) -> None:
        super().__init__(("127.0.0.1", port), type("BoundHandler", (Handler,), {"service": service}))


def _refuse_others(query: Mapping[str, str], call: str) -> None:
    if others := sorted(set(query) - SERVED[call]):
        raise ApiError(400, "badRequest", f"{', '.join(others)}: not served here")


def _generation_match(query: Mapping[str, str]) -> int | None:
    return int(query["ifGenerationMatch"]) if "ifGenerationMatch" in query else None


def _part_of(data: bytes, wanted: str, headers: Mapping[str, str]) -> Answer:
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
    if found is None:
        return Answer(body=data, headers=headers)
    first, last = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
    if first >= len(data):
        raise ApiError(416, "requestedRangeNotSatisfiable", "The requested range cannot be satisfied.")
    where = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
    return Answer(code=206, body=data[first : last + 1], headers={**headers, **where})


def _parts(content_type: str, body: bytes) -> tuple[dict[str, Any], str, bytes]:
    """The description, the content type and the content in a ``multipart/related`` body."""
    found = re.search(r"boundary=\"?'?([^\"';]+)", content_type)
    if found is None:
        raise ApiError(400, "badRequest", "multipart without a boundary")
    boundary = b"--" + found[1].encode()
    # gcsfs ends its lines with a bare line feed; then a carriage return before one belongs to the content.
    newline = b"\r\n" if body.startswith(boundary + b"\r\n") else b"\n"
    end = body.rindex(newline + boundary + b"--")
    described, _, media = body[len(boundary) : end].partition(newline + boundary + newline)
    head, _, data = media.partition(newline * 2)
    of_content = re.search(rb"content-type:\s*(\S+)", head, re.IGNORECASE)
    type_ = of_content[1].decode() if of_content else "application/octet-stream"
    return json.loads(described.partition(newline * 2)[2]), type_, data
