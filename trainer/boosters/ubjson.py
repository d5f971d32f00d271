"""Universal Binary JSON as XGBoost writes it: decoded just far enough to move trees from one model to another.

Typed arrays (a tree's nodes) stay the bytes they are, so a model of a thousand trees costs no more than its size.
Encoding what was decoded gives the same bytes. Source: https://ubjson.org and XGBoost's ``src/common/json.cc``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeAlias

#: Marker, struct format of the fixed-size numbers.
NUMBERS = {
    "i": struct.Struct(">b"),
    "U": struct.Struct(">B"),
    "I": struct.Struct(">h"),
    "l": struct.Struct(">i"),
    "L": struct.Struct(">q"),
    "d": struct.Struct(">f"),
    "D": struct.Struct(">d"),
}
CONSTANTS = {"T": True, "F": False, "Z": None}
#: XGBoost keeps the outermost values of each size for the next larger one.
INTEGERS = (("i", 2**7 - 1), ("I", 2**15 - 1), ("l", 2**31 - 1))


@dataclass(frozen=True, slots=True)
class Numbers:
    """A typed array: its element's marker and its bytes."""

    marker: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Real:
    """A floating-point number: its marker and its bytes."""

    marker: str
    data: bytes


#: Objects, lists, text, integers and constants as Python has them; numbers of other kinds as they were written.
Value: TypeAlias = "dict[str, Value] | list[Value] | str | int | bool | Numbers | Real | None"


def decode(data: bytes) -> Value:
    """The value that ``data`` holds.

    Raises:
        ValueError: ``data`` is no UBJSON of the kind that XGBoost writes, or ends in the middle.
    """
    reader = _Reader(memoryview(data))
    try:
        value = reader.value(reader.marker())
    except (struct.error, IndexError, UnicodeDecodeError) as e:
        raise ValueError(f"is no UBJSON: byte {reader.at} of {len(data)}: {e}") from e
    if reader.at != len(data):
        raise ValueError(f"is no UBJSON: {len(data) - reader.at} bytes follow its end")
    return value


def encode(value: Value) -> bytes:
    """``value`` as UBJSON; objects keep the order of their keys."""
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.data):
            raise IndexError(f"{size} bytes are wanted")
        taken = bytes(self.data[self.at : self.at + size])
        self.at += size
        return taken

    def marker(self) -> str:
        return self.take(1).decode("ascii")

    def value(self, marker: str) -> Value:
        if marker == "{":
            return self.members()
        if marker == "[":
            return self.items()
        if marker == "S":
            return self.text()
        if marker in CONSTANTS:
            return CONSTANTS[marker]
        if marker in ("d", "D"):
            return Real(marker, self.take(NUMBERS[marker].size))
        return self.integer(marker)

    def integer(self, marker: str) -> int:
        if marker not in NUMBERS:
            raise ValueError(f"is no UBJSON: marker {marker!r} at byte {self.at - 1}")
        return int(NUMBERS[marker].unpack(self.take(NUMBERS[marker].size))[0])

    def text(self) -> str:
        return self.take(self.integer(self.marker())).decode()

    def members(self) -> Value:
        found: dict[str, Value] = {}
        while self.data[self.at] != ord("}"):
            name = self.text()
            found[name] = self.value(self.marker())
        self.at += 1
        return found

    def items(self) -> Value:
        marker = self.marker()
        if marker == "$":
            kind, hash_sign = self.marker(), self.marker()
            if hash_sign != "#" or kind not in NUMBERS:
                raise ValueError(f"is no UBJSON: array of {kind!r} at byte {self.at}")
            count = self.integer(self.marker())
            return Numbers(kind, self.take(count * NUMBERS[kind].size))
        if marker != "#":
            raise ValueError(f"is no UBJSON: array without a count at byte {self.at}")
        return [self.value(self.marker()) for _ in range(self.integer(self.marker()))]


def _write(value: Value, parts: list[bytes]) -> None:
    if isinstance(value, dict):
        parts.append(b"{")
        for name, member in value.items():
            parts.append(_text(name))
            _write(member, parts)
        parts.append(b"}")
    elif isinstance(value, list):
        parts.append(b"[#" + _count(len(value)))
        for item in value:
            _write(item, parts)
    elif isinstance(value, Numbers):
        count = len(value.data) // NUMBERS[value.marker].size
        parts.append(b"[$" + value.marker.encode() + b"#" + _count(count))
        parts.append(value.data)
    elif isinstance(value, Real):
        parts.append(value.marker.encode() + value.data)
    elif isinstance(value, str):
        parts.append(b"S" + _text(value))
    elif value is None or isinstance(value, bool):
        parts.append({True: b"T", False: b"F", None: b"Z"}[value])
    else:
        parts.append(_integer(value))


def _count(number: int) -> bytes:
    return b"L" + NUMBERS["L"].pack(number)


def _text(text: str) -> bytes:
    data = text.encode()
    return _count(len(data)) + data


def _integer(number: int) -> bytes:
    for marker, limit in INTEGERS:
        if -limit - 1 < number < limit:
            return marker.encode() + NUMBERS[marker].pack(number)
    return _count(number)
