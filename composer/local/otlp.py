"""What stands between Prometheus and the stack: takes Airflow's metrics over OTLP, and says which pods there are.

A deployment has an OpenTelemetry Collector for that. Here it is a thread, as far as one machine needs it. Airflow's
processes end after a task and know no earlier sum; so they are told to send what was added since the last time
(``OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta``), and what is added up is here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA

from composer.local.ports import HOST
from trainer.contract.metrics import METRICS, Source
from trainer.metrics.exposition import CONTENT_TYPE, exposition
from trainer.metrics.registry import Registry

#: What Airflow puts before every name.
PREFIX = "airflow."
#: Airflow sends names that begin so, and no others.
ALLOWED = "training."
SEND_EVERY_MS = 5000
LONGEST_BODY = 4 << 20


class RefusedError(Exception):
    """A request that cannot be added up; the message says why."""


def environment(address: str) -> dict[str, str]:
    """What Airflow's processes need to send their metrics to the receiver at ``address``."""
    return {
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "AIRFLOW__METRICS__METRICS_ALLOW_LIST": ALLOWED,
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{address}/v1/metrics",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "3",
        "OTEL_METRIC_EXPORT_INTERVAL": str(SEND_EVERY_MS),
    }


def take(request: ExportMetricsServiceRequest, registry: Registry) -> None:
    """Add ``request`` to ``registry``. Metrics that are not in the contract's table as Airflow's are left out.

    Raises:
        RefusedError: a sum is not what was added since the last time.
    """
    for metric in _metrics(request):
        name = metric.name.removeprefix(PREFIX)
        definition = METRICS.get(name)
        if definition is None or definition.source is not Source.AIRFLOW:
            continue
        kind = metric.WhichOneof("data")
        if kind == "sum":
            if metric.sum.aggregation_temporality != AGGREGATION_TEMPORALITY_DELTA:
                raise RefusedError(f"{metric.name} is cumulative; send it with the temporality delta")
            for point in metric.sum.data_points:
                registry.add(name, _number(point), **_labels(point))
        elif kind == "gauge":
            for point in metric.gauge.data_points:
                registry.set(name, _number(point), **_labels(point))


def _metrics(request: ExportMetricsServiceRequest) -> Iterable[Any]:
    return (m for resource in request.resource_metrics for scope in resource.scope_metrics for m in scope.metrics)


def _number(point: Any) -> float:
    return float(getattr(point, point.WhichOneof("value")))


def _labels(point: Any) -> Mapping[str, str]:
    return {a.key: str(getattr(a.value, a.value.WhichOneof("value"))) for a in point.attributes}


class Handler(BaseHTTPRequestHandler):
    """``POST /v1/metrics``, ``GET /metrics`` and ``GET /targets``."""

    registry: Registry
    targets: Callable[[], Any]
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self) -> None:
        """Take what a process of Airflow sends."""
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/v1/metrics" or length > LONGEST_BODY:
            self.close_connection = True
            return self._answer(404 if self.path != "/v1/metrics" else 413, "text/plain", b"")
        try:
            take(ExportMetricsServiceRequest.FromString(self.rfile.read(length)), self.registry)
        except (DecodeError, RefusedError) as e:
            return self._answer(400, "text/plain", f"{e}\n".encode())
        return self._answer(200, "application/x-protobuf", ExportMetricsServiceResponse().SerializeToString())

    def do_GET(self) -> None:
        """Answer a scrape, or the question whom to scrape. Without an answer Prometheus stays with the last one."""
        if self.path == "/metrics":
            return self._answer(200, CONTENT_TYPE, exposition(self.registry.samples()).encode())
        if self.path != "/targets":
            return self._answer(404, "text/plain", b"")
        try:
            found = type(self).targets()
        except (OSError, ValueError) as e:
            return self._answer(503, "text/plain", f"{e}\n".encode())
        return self._answer(200, "application/json", json.dumps(found).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """Nothing: a line every few seconds would hide what matters."""

    def _answer(self, code: int, content_type: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Receiver(ThreadingHTTPServer):
    """Listens on ``port`` of the loopback interface, in threads that end with the process.

    ``targets`` is asked for what ``GET /targets`` answers.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, targets: Callable[[], Any]) -> None:
        self.registry = Registry()
        bound = {"registry": self.registry, "targets": staticmethod(targets)}
        super().__init__((HOST, port), type("BoundHandler", (Handler,), bound))

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.server_address[1]}"

    def start(self) -> None:
        """Begin to answer; returns at once."""
        threading.Thread(target=self.serve_forever, name="otlp", daemon=True).start()
