"""TCP ports on the loopback interface."""

from __future__ import annotations

import socket

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
