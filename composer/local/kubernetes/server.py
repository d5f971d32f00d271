"""The API server: Kubernetes' REST protocol over the store, one thread a request."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from composer.local.kubernetes import access, discovery, patches, quota
from composer.local.kubernetes.controllers import Controllers
from composer.local.kubernetes.discovery import RESOURCES
from composer.local.kubernetes.kubelet import Kubelet
from composer.local.kubernetes.selectors import SelectorError, matches
from composer.local.kubernetes.store import ConflictError, GoneError, Key, Object, Store
from composer.local.kubernetes.validation import InvalidError, validate, validate_change

PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+/[^/]+))(?:/namespaces/(?P<ns>[^/]+)(?=/))?"
    r"/(?P<resource>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[a-z]+))?"
)
WATCH_S = 3600.0


class ApiError(Exception):
    """An answer other than success, in Kubernetes' words."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


@dataclass(frozen=True, slots=True)
class Request:
    """One request, taken apart."""

    method: str
    resource: str
    namespace: str
    name: str
    sub: str
    query: dict[str, str]
    body: Any
    content_type: str

    @property
    def key(self) -> Key:
        """The object that it is about."""
        return Key(self.resource, self.namespace, self.name)

    @property
    def dry(self) -> bool:
        """Whether nothing is to be changed."""
        return self.query.get("dryRun") == "All"


class Api:
    """What the server knows; shared by all requests."""

    def __init__(self, store: Store, controllers: Controllers, kubelet: Kubelet, denied: Collection[str] = ()) -> None:
        self.store, self.controllers, self.kubelet = store, controllers, kubelet
        self.denied = frozenset(denied)
        self.stop = threading.Event()

    def create(self, request: Request) -> Object:
        """POST of an object."""
        kind, version, _ = RESOURCES[request.resource]
        item: Object = {"apiVersion": version, "kind": kind, **(request.body or {})}
        metadata = item.setdefault("metadata", {})
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        if request.namespace and self.store.get(Key("namespaces", "", request.namespace)) is None:
            raise _not_found("namespaces", request.namespace)
        _defaults(request.resource, item)
        validate(request.resource, item)
        key = Key(request.resource, request.namespace, metadata["name"])
        if request.resource == "pods":
            self._admit({**item, "metadata": {**metadata, "namespace": request.namespace}})
        if request.dry:
            return item
        try:
            item = self.store.create(key, item)
        except FileExistsError as e:
            raise ApiError(409, "AlreadyExists", f'{_full(request.resource)} "{key.name}" already exists') from e
        if request.resource == "pods":
            self.kubelet.submit(key)
        if request.resource == "services":
            self.kubelet.update_hosts()
        return item

    def _admit(self, pod: Object) -> None:
        if refused := quota.refusal(pod, pod["metadata"]["name"], self.store):
            raise ApiError(403, "Forbidden", refused)

    def get(self, request: Request) -> Object:
        """One object."""
        item = self.store.get(request.key)
        if item is None:
            raise _not_found(request.resource, request.name)
        return item

    def list(self, request: Request) -> Object:
        """All that are selected, with the version that a watch can begin at."""
        kind, version, _ = RESOURCES[request.resource]
        with self.store.lock:
            found = [item for _, item in self.store.list(request.resource, request.namespace)]
            at = str(self.store.version)
        items = [i for i in found if self.selected(request, i)]
        return {"kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": at}, "items": items}

    def selected(self, request: Request, item: Object) -> bool:
        """Whether the request's selectors select ``item``."""
        return matches(item, request.query.get("labelSelector", ""), request.query.get("fieldSelector", ""))

    def change(self, request: Request) -> Object:
        """PUT or PATCH, of the object or of its status."""
        with self.store.lock:
            old = self.get(request)
            expected = None
            if request.method == "PATCH":
                new = patches.apply(old, request.body, request.content_type)
            else:
                new = {**request.body, "metadata": {**old["metadata"], **request.body["metadata"]}}
                expected = request.body["metadata"].get("resourceVersion")
            if request.sub == "status":
                new = {**old, "status": new.get("status", {})}
            else:
                new = {**new, "status": old.get("status", {})} if "status" in old else new
                validate_change(request.resource, old, new)
            if request.dry:
                return new
            return self.store.replace(request.key, new, expected=expected) or old

    def delete(self, request: Request) -> Object:
        """DELETE of one object; Jobs orphan what they own unless told otherwise, as on a cluster."""
        item = self.get(request)
        options = {**request.query, **(request.body or {})}
        default = "Orphan" if request.resource == "jobs" else "Background"
        policy = options.get("propagationPolicy") or default
        grace = options.get("gracePeriodSeconds")
        wanted = (options.get("preconditions") or {}).get("uid")
        if wanted and wanted != item["metadata"]["uid"]:
            raise ConflictError(request.name)
        if request.dry:
            return item
        return self.controllers.delete(request.key, policy, None if grace is None else float(grace)) or item

    def evict(self, request: Request) -> Object:
        """The eviction subresource: the pod learns why, then it is deleted."""
        with self.store.lock:
            self.get(request)
            self.controllers.delete(request.key, "Background", disrupted="EvictionByEvictionAPI")
        return {"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    api: Api

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: the store's events tell the story."""

    def do_GET(self) -> None:
        """Any method comes here."""
        try:
            self._route()
        except ApiError as e:
            self._status(e.code, e.reason, e.message)
        except InvalidError as e:
            self._status(422, "Invalid", str(e))
        except (SelectorError, patches.PatchError) as e:
            self._status(400, "BadRequest", str(e))
        except ConflictError as e:
            message = "the object has been modified; please apply your changes to the latest version and try again"
            self._status(409, "Conflict", f'Operation cannot be fulfilled on "{e}": {message}')
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _route(self) -> None:
        url = urlsplit(self.path)
        query = {k: v[-1] for k, v in parse_qs(url.query).items()}
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw) if raw else None
        fixed = discovery.answer(url.path)
        if fixed is not None:
            return self._send(200, fixed)
        if url.path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
            return self._send(201, access.review(body, self.api.denied))
        found = PATH.fullmatch(url.path)
        if found is None or found["resource"] not in RESOURCES:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        request = Request(
            method=self.command,
            resource=found["resource"],
            namespace=found["ns"] or "",
            name=found["name"] or "",
            sub=found["sub"] or "",
            query=query,
            body=body,
            content_type=self.headers.get("Content-Type") or "",
        )
        return self._serve(request)

    def _serve(self, request: Request) -> None:
        watch = request.query.get("watch", "").lower() in ("true", "1")
        rule = access.asked(request.method, request.resource, request.name, request.sub, watch=watch)
        if rule in self.api.denied:
            verb, _, what = rule.partition(" ")
            message = f'{what} is forbidden: User "stand-in" cannot {verb} resource "{what}" in API group ""'
            raise ApiError(403, "Forbidden", f'{message} in the namespace "{request.namespace}"')
        if request.sub == "log":
            return self._log(request)
        if request.sub == "eviction":
            return self._send(201, self.api.evict(request))
        if not request.name:
            return self._collection(request)
        handlers = {"GET": self.api.get, "PUT": self.api.change, "PATCH": self.api.change, "DELETE": self.api.delete}
        return self._send(200, handlers[request.method](request))

    def _collection(self, request: Request) -> None:
        if request.method == "POST":
            return self._send(201, self.api.create(request))
        if request.method == "DELETE":
            listed = self.api.list(request)
            for item in listed["items"]:
                metadata = item["metadata"]
                one = Request(
                    **{**_fields(request), "name": metadata["name"], "namespace": metadata.get("namespace", "")}
                )
                with contextlib.suppress(ApiError):
                    self.api.delete(one)
            return self._send(200, listed)
        if request.query.get("watch", "").lower() in ("true", "1"):
            return self._watch(request)
        return self._send(200, self.api.list(request))

    def _watch(self, request: Request) -> None:
        listed = self.api.list(request)
        since = request.query.get("resourceVersion") or ""
        timeout_s = float(request.query.get("timeoutSeconds") or WATCH_S)
        self._begin("application/json")
        if since in ("", "0"):
            since = listed["metadata"]["resourceVersion"]
            for item in listed["items"]:
                self._line({"type": "ADDED", "object": item})
        try:
            for event in self.api.store.watch(
                request.resource, request.namespace, int(since), self.api.stop, timeout_s
            ):
                if self.api.selected(request, event.object):
                    self._line({"type": event.kind, "object": event.object})
        except GoneError:
            status = {
                "kind": "Status",
                "code": 410,
                "reason": "Expired",
                "message": f"too old resource version: {since}",
            }
            self._line({"type": "ERROR", "object": status})
        self._end()

    def _log(self, request: Request) -> None:
        pod = self.api.get(request)
        log = self.api.kubelet.log(request.key)
        if log is None:
            container = pod["spec"]["containers"][0]["name"]
            message = f'container "{container}" in pod "{request.name}" is waiting to start: ContainerCreating'
            raise ApiError(400, "BadRequest", message)
        follow = request.query.get("follow", "").lower() == "true"
        stamps = request.query.get("timestamps", "").lower() == "true"
        tail = request.query.get("tailLines")
        since = request.query.get("sinceTime", "")
        self._begin("text/plain")
        for line in log.read(follow=follow, tail=int(tail) if tail else None, stop=self.api.stop):
            stamp, _, text = line.partition(b" ")
            if since and stamp.decode()[:19] < since[:19]:
                continue
            self._chunk(line if stamps else text)
        self._end()

    def _status(self, code: int, reason: str, message: str) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        self._send(code, {**status, "reason": reason, "message": message, "code": code})

    def _send(self, code: int, body: Any) -> None:
        data = json.dumps(body).encode() if not isinstance(body, bytes) else body
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def _begin(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def _line(self, body: Any) -> None:
        self._chunk(json.dumps(body).encode() + b"\n")

    def _chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

    def _end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    """The HTTP server on the loopback interface."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, api: Api) -> None:
        super().__init__(("127.0.0.1", port), type("BoundHandler", (Handler,), {"api": api}))


def _fields(request: Request) -> dict[str, Any]:
    return {name: getattr(request, name) for name in Request.__slots__}


def _full(resource: str) -> str:
    return "jobs.batch" if resource == "jobs" else resource


def _not_found(resource: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{_full(resource)} "{name}" not found')


def _defaults(resource: str, item: Object) -> None:
    if resource == "jobs":
        spec = item.get("spec") or {}
        spec.setdefault("parallelism", 1)
        spec.setdefault("completionMode", "NonIndexed")
        spec.setdefault("suspend", False)
        if spec.get("completionMode") == "NonIndexed":
            spec.setdefault("completions", 1)
        spec.setdefault("backoffLimit", 6 if spec.get("backoffLimitPerIndex") is None else 2**31 - 1)
        spec.setdefault("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")
        item["status"] = {}
    if resource == "pods":
        item["status"] = {"phase": "Pending"}
        (item.get("spec") or {}).setdefault("restartPolicy", "Always")
    if resource == "secrets" and "stringData" in item:
        import base64

        data = {k: base64.b64encode(v.encode()).decode() for k, v in item.pop("stringData").items()}
        item["data"] = {**(item.get("data") or {}), **data}
