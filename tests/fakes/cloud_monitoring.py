"""Cloud Monitoring's ``CreateTimeSeries`` over real gRPC, which may be told to refuse, to stall or to be killed."""

from __future__ import annotations

import threading
from concurrent import futures
from typing import Any

import grpc
from google.cloud.monitoring_v3 import types
from google.protobuf import empty_pb2

SERVICE = "google.monitoring.v3.MetricService"


class CloudMonitoring:
    """Keeps what it was given in ``calls``. ``refuse`` is the status of each answer while it is set."""

    def __init__(self, port: int = 0) -> None:
        self.calls: list[types.CreateTimeSeriesRequest] = []
        self.refuse: grpc.StatusCode | None = None
        self.asked = 0
        self.changed = threading.Condition()
        self._free = threading.Event()
        self._free.set()
        self._server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        handler = grpc.unary_unary_rpc_method_handler(
            self._create, types.CreateTimeSeriesRequest.deserialize, empty_pb2.Empty.SerializeToString
        )
        handlers = grpc.method_handlers_generic_handler(SERVICE, {"CreateTimeSeries": handler})
        self._server.add_generic_rpc_handlers((handlers,))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        assert self.port, f"port {port} is taken"
        self._server.start()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stall(self) -> None:
        """Answer nothing from here on."""
        self._free.clear()

    def go_on(self) -> None:
        self._free.set()

    def kill(self) -> None:
        """End all connections at once, without a word."""
        self._free.set()
        self._server.stop(0).wait(5)

    def wait_for(self, count: int, within_s: float = 10.0) -> None:
        """Until ``count`` calls were asked, whatever the answer was."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.asked >= count, within_s), f"{self.asked} of {count} calls came"

    def values(self, name: str) -> list[Any]:
        """The values of the points of ``training.<name>``, in order."""
        return [point.value for s in self.series(name) for point in s.points]

    def series(self, name: str) -> list[Any]:
        """What was written of ``training.<name>``, in order."""
        kind = f"custom.googleapis.com/training/{name.replace('.', '/')}"
        return [s for call in self.calls for s in call.time_series if s.metric.type == kind]

    def _create(self, request: types.CreateTimeSeriesRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        with self.changed:
            self.asked += 1
            self.changed.notify_all()
        if not self._free.wait(30) or not context.is_active():
            return empty_pb2.Empty()
        if self.refuse is not None:
            context.abort(self.refuse, "refused by the test")
        self.calls.append(request)
        return empty_pb2.Empty()
