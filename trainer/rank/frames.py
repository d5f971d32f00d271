"""Frames between a rank process and who drives it: a JSON header, then bytes. Never a pickle."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

HEADER = struct.Struct(">IQ")


def write_frame(stream: IO[bytes], header: Mapping[str, Any], payload: bytes = b"") -> None:
    """Write one frame and flush."""
    text = json.dumps(header, separators=(",", ":")).encode()
    stream.write(HEADER.pack(len(text), len(payload)))
    stream.write(text)
    stream.write(payload)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """The next frame; None when the other side is gone, at a frame's end or in the middle of one."""
    sizes = _exactly(stream, HEADER.size)
    if sizes is None:
        return None
    header_size, payload_size = HEADER.unpack(sizes)
    text, payload = _exactly(stream, header_size), _exactly(stream, payload_size)
    if text is None or payload is None:
        return None
    return json.loads(text), payload


def _exactly(stream: IO[bytes], size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = stream.read(size - len(data))
        if not part:
            return None
        data += part
    return bytes(data)
