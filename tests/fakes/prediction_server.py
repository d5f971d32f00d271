"""The prediction server as a process of its own, on a port of its own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from composer.local.places import REPOSITORY

START_S = 60.0
PROGRAM = (sys.executable, "-m", "trainer.serve")


class Server:
    """A server that answers on a port of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            return json.load(answer)

    def post(self, body: Any, path: str = "/predict") -> tuple[int, Any, str]:
        """Status, body and the version that answered."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer), answer.headers["x-model-version"]
        except urllib.error.HTTPError as e:
            return e.code, json.load(e), e.headers["x-model-version"]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def environment(uri: str, port: int, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "AIP_STORAGE_URI": uri,
        "AIP_HTTP_PORT": str(port),
        "SERVE_HOST": "127.0.0.1",
        "SERVE_POLL_S": "1",
        **more,
    }


@contextlib.contextmanager
def serving(uri: str, **more: str) -> Iterator[Server]:
    port = free_port()
    process = subprocess.Popen(
        PROGRAM, env=environment(uri, port, **more), cwd=REPOSITORY,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    server = Server(process, port)
    end = time.monotonic() + START_S
    try:
        while True:
            with contextlib.suppress(OSError):
                server.get(more.get("AIP_HEALTH_ROUTE", "/health"))
                break
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < end, "the server did not come up"
            time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
