"""``GET /health``: what a pod is doing, for probes and for people with curl; ``GET /metrics``: for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer.contract import FailureReason, TrainingFailure
from trainer.metrics.exposition import CONTENT_TYPE

#: A probe that has not sent its request within this time is hung up on.
REQUEST_S = 5.0
MAX_HEAD_BYTES = 8192


@dataclass(kw_only=True)
class HealthServer:
    """Serves ``state()`` as JSON on ``host:port`` while the ``async with`` block runs. Port 0 takes any free one.

    ``metrics()`` is the page of ``/metrics``, None where it is not served. The probe is answered by the event loop that
    does the pod's work, so a blocked loop fails its liveness probe.
    """

    host: str
    port: int
    state: Callable[[], Mapping[str, Any]]
    metrics: Callable[[], str | None] = lambda: None
    _server: asyncio.Server | None = field(default=None, init=False)

    async def __aenter__(self) -> HealthServer:
        try:
            self._server = await asyncio.start_server(self._answer, self.host, self.port, limit=MAX_HEAD_BYTES)
        except OSError as e:
            message = f"/health cannot listen on {self.host}:{self.port} ({e}); set TRAINING_HEALTH_PORT to a free port"
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_S)
            status, body = self._response(head.split(b"\r\n", 1)[0].decode("latin-1"))
            kind = CONTENT_TYPE if isinstance(body, str) else "application/json"
            payload = (body if isinstance(body, str) else json.dumps(body)).encode()
            lines = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(payload)}")
            writer.write("\r\n".join((*lines, "Connection: close", "", "")).encode() + payload)
            await asyncio.wait_for(writer.drain(), REQUEST_S)
        writer.close()

    def _response(self, request: str) -> tuple[str, Mapping[str, Any] | str]:
        method, _, rest = request.partition(" ")
        path = rest.split(" ", 1)[0].split("?", 1)[0]
        page = self.metrics() if path == "/metrics" else None
        if path != "/health" and page is None:
            return "404 Not Found", {"error": f"{path} is not served here; /health is"}
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", {"error": f"{method} is not allowed; GET is"}
        return "200 OK", dict(self.state()) if page is None else page
