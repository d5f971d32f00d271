"""Logs of pods: lines with a time each, on disk, that readers can follow."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator
from pathlib import Path


class PodLog:
    """The log of one container. Written by one thread, read by any number."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        self._grown = threading.Condition()
        self._ended = False

    def append(self, line: bytes) -> None:
        """Add one line."""
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()
        with self._grown:
            with self._path.open("ab") as f:
                f.write(stamp + b" " + line.rstrip(b"\n") + b"\n")
            self._grown.notify_all()

    def end(self) -> None:
        """Nothing will follow."""
        with self._grown:
            self._ended = True
            self._grown.notify_all()

    def read(
        self, *, follow: bool = False, tail: int | None = None, stop: threading.Event | None = None
    ) -> Iterator[bytes]:
        """Lines with their time; ``follow`` waits for more until the container has ended."""
        with self._path.open("rb") as f:
            if tail is not None:
                lines = f.readlines()
                yield from lines[len(lines) - min(tail, len(lines)) :]
            while True:
                with self._grown:
                    ended = self._ended
                    lines = f.readlines()
                    if not lines and follow and not ended:
                        self._grown.wait(1.0)
                        lines = f.readlines()
                yield from lines
                if not lines and (not follow or ended or (stop is not None and stop.is_set())):
                    return

    def last(self, lines: int) -> bytes:
        """The end of the log without times."""
        return b"".join(line.split(b" ", 1)[-1] for line in self.read(tail=lines))
