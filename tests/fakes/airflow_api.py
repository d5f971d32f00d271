"""The few routes of Airflow's REST API that a deployment asks, over real HTTP, answered from memory."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeAirflow:
    """What the server has, and was asked to change."""

    variables: dict[str, str] = field(default_factory=dict)
    pools: dict[str, Any] = field(default_factory=dict)
    dags: set[str] = field(default_factory=set)
    import_errors: list[dict[str, str]] = field(default_factory=list)
    findings: list[dict[str, str]] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    #: So many requests find a web server that starts.
    away: int = 0
    url: str = ""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and document."""
        kind, _, rest = path.partition("?")[0].removeprefix("/api/v2/").partition("/")
        if self.away:
            self.away -= 1
            return 503, {"detail": "the web server starts"}
        if method != "GET":
            self.changes.append(f"{method} {kind}/{rest}".rstrip("/"))
        found: Any = None
        if kind == "variables":
            found = self._variable(method, rest, body)
        elif kind == "pools":
            found = self._pool(method, rest, body)
        elif kind == "importErrors":
            found = {"import_errors": self.import_errors, "total_entries": len(self.import_errors)}
        elif kind == "dags":
            found = self._dag(method, rest, body)
        return (200, found) if found is not None else (404, {"detail": f"{path} is not here"})

    def _variable(self, method: str, key: str, body: Any) -> Any:
        if method == "POST" or (method == "PATCH" and key in self.variables):
            self.variables[body["key"]] = body["value"]
            return body
        return {"key": key, "value": self.variables[key]} if method == "GET" and key in self.variables else None

    def _pool(self, method: str, name: str, body: Any) -> Any:
        if method == "POST":
            self.pools[body["name"]] = body
            return body
        return self.pools.get(name)

    def _dag(self, method: str, rest: str, body: Any) -> Any:
        dag_id, _, of_it = rest.partition("/")
        if dag_id not in self.dags:
            return None
        if not of_it:
            return {"dag_id": dag_id}
        if method == "POST":
            self.runs.append(body["dag_run_id"])
            return {"dag_run_id": body["dag_run_id"]}
        if of_it.endswith("/taskInstances"):
            return {"task_instances": [{"task_id": "report", "map_index": -1, "state": "success", "start_date": "x"}]}
        if of_it.endswith("/xcomEntries/findings"):
            return {"value": json.dumps(self.findings)}
        return {"state": "success"}


@contextlib.contextmanager
def running_airflow() -> Iterator[FakeAirflow]:
    """A server on a port of its own, gone afterwards."""
    airflow = FakeAirflow()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, document = airflow.answer(self.command, self.path, body)
            if self.headers.get("Authorization") != "Bearer a-token":
                status, document = 401, {"detail": "no token"}
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = _answer

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    airflow.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield airflow
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
