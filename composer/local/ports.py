"""TCP ports on the loopback interface."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path

HOST = "127.0.0.1"


class PortInUseError(Exception):
    """Somebody else listens on a port that was asked for by number."""


def free_ports(count: int) -> list[int]:
    """``count`` distinct ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind((HOST, 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def kept_ports(path: Path, names: Sequence[str]) -> dict[str, int]:
    """A free port for each name, the one that ``path`` remembers where it is still free.

    A run that is started again finds the endpoints that its plan was made with.
    """
    try:
        remembered = json.loads(path.read_text())
    except (OSError, ValueError):
        remembered = {}
    fresh = free_ports(len(names))
    ports = {name: _still_free(remembered.get(name)) or port for name, port in zip(names, fresh, strict=True)}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(ports))
    temporary.replace(path)
    return ports


def _still_free(port: int | None) -> int | None:
    if port is None:
        return None
    try:
        return require_free(port, "a stand-in", "")
    except PortInUseError:
        return None


def require_free(port: int, purpose: str, fix: str) -> int:
    """``port``, if nobody listens on it.

    Raises:
        PortInUseError: naming the port, what it is for, and ``fix``.
    """
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((HOST, port))
        except OSError as e:
            raise PortInUseError(f"port {port}, wanted for {purpose}, is in use: {fix}") from e
    return port
