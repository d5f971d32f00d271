"""Frames between a rank process and who drives it: a JSON header and bytes. Never a pickle.

| From the driver | ``{"command": name, "arguments": {...}}`` and the command's payload |
|---|---|
| From the rank, any number | ``{"kind": "progress", "report": {...}}`` |
| From the rank, once a ``hold`` | ``{"kind": "held", "rounds": number}`` |
| From the rank, once a command | ``{"kind": "reply", "reply": {...}}`` and a payload |
| or | ``{"kind": "failure", "reason": FailureReason, "message": text}`` |
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Bytes of the header, bytes of the payload.
SIZES = struct.Struct(">IQ")
CHUNK = 1 << 20


class EndOfFrames(Exception):
    """The other side is gone."""


@dataclass(slots=True)
class Frames:
    """Sends and receives frames over ``connection``. Any thread may send, one receives."""

    connection: socket.socket
    _buffer: bytearray = field(default_factory=bytearray)
    _sending: threading.Lock = field(default_factory=threading.Lock)

    def send(self, header: Mapping[str, Any], payload: bytes = b"", deadline: float | None = None) -> None:
        """Send one frame; ``deadline`` is a time of the monotonic clock.

        Raises:
            EndOfFrames: the other side is gone.
            TimeoutError: the deadline passed.
        """
        text = json.dumps(header, separators=(",", ":")).encode()
        with self._sending:
            for part in (SIZES.pack(len(text), len(payload)) + text, payload):
                view = memoryview(part)
                while view:
                    self._wait_until(deadline)
                    try:
                        view = view[self.connection.send(view[:CHUNK]) :]
                    except TimeoutError:
                        raise
                    except OSError as e:
                        raise EndOfFrames(str(e)) from e

    def receive(self, deadline: float | None = None) -> tuple[dict[str, Any], bytes]:
        """The next frame.

        Raises:
            EndOfFrames: the other side is gone, after a frame or in the middle of one.
            TimeoutError: the deadline passed; what came until then is kept for the next call.
        """
        self._fill(SIZES.size, deadline)
        header_size, payload_size = SIZES.unpack_from(self._buffer)
        start, end = SIZES.size + header_size, SIZES.size + header_size + payload_size
        self._fill(end, deadline)
        header = json.loads(self._buffer[SIZES.size : start])
        payload = bytes(self._buffer[start:end])
        del self._buffer[:end]
        return header, payload

    def _fill(self, size: int, deadline: float | None) -> None:
        while len(self._buffer) < size:
            self._wait_until(deadline)
            try:
                data = self.connection.recv(CHUNK)
            except TimeoutError:
                raise
            except OSError as e:
                raise EndOfFrames(str(e)) from e
            if not data:
                raise EndOfFrames("the other side closed the connection")
            self._buffer += data

    def _wait_until(self, deadline: float | None) -> None:
        if deadline is None:
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline passed")
        try:
            self.connection.settimeout(left)
        except OSError as e:
            raise EndOfFrames(str(e)) from e
