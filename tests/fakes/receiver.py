"""Who is told: an HTTP server and an SMTP server on this machine that remember what reached them."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """``posts`` are (path, body); ``mails`` raw messages. The first ``refuse`` requests are answered with 503."""

    port: int = 0
    refuse: int = 0
    posts: list[tuple[str, Any]] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def http_receiver() -> Iterator[Received]:
    """Takes any POST."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if received.refuse > 0:
                received.refuse -= 1
                self.send_error(503)
                return
            received.posts.append((self.path, body))
            self.send_response(202)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.port = server.server_address[1]
    with _serving(server):
        yield received


@contextmanager
def smtp_receiver() -> Iterator[Received]:
    """Takes any message, without encryption."""
    received = Received()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 here")
            while line := self.rfile.readline().decode().strip().upper():
                if line == "DATA":
                    self._say("354 go on")
                    received.mails.append("".join(iter(lambda: self.rfile.readline().decode(), ".\r\n")))
                self._say("221 bye" if line == "QUIT" else "250 fine")
                if line == "QUIT":
                    return

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    received.port = server.server_address[1]
    with _serving(server):
        yield received


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
