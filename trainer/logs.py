"""What a pod says: one JSON object a line for Cloud Logging, or lines and a live bar for a person at a terminal.

The JSON fields ``severity``, ``message``, ``time`` and ``logging.googleapis.com/trace`` are those of Google Cloud's
structured logging, which GKE's agent collects from standard output without a client library. ``event`` names what
happened, for programs that follow a job. All pods of a run have the same trace, so that their lines are found together.

Nothing that is logged comes from a row: events have counts, rounds and scores.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

BAR_WIDTH = 24
TRACE = "logging.googleapis.com/trace"
#: Fields of every line, and the variables of the pod's environment that they come from: words, then whole numbers.
WORDS = {"model_type": "TRAINING_MODEL_TYPE", "data_split": "TRAINING_DATA_SPLIT"}
NUMBERS = {"num_workers": "TOTAL_WORKERS", "worker_index": "WORKER_INDEX", "attempt": "TRAINING_ATTEMPT"}
#: A round inside a segment is reported at most this often.
PROGRESS_EVERY_S = 2.0


def utc_now() -> str:
    """The time in UTC as RFC 3339 with milliseconds, such as ``2026-01-31T12:00:00.000Z``."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Sink(Protocol):
    """Where events end up."""

    def write(self, record: Mapping[str, Any]) -> None:
        """Show one event; ``record`` has ``severity``, ``message``, ``time``, ``event`` and the event's own fields."""


@dataclass
class JsonLines:
    """One JSON object a line."""

    stream: TextIO

    def write(self, record: Mapping[str, Any]) -> None:
        """Write the whole record, and flush: a log that is collected late is worth little."""
        self.stream.write(json.dumps(record, default=str, separators=(",", ":")) + "\n")
        self.stream.flush()


@dataclass
class Terminal:
    """Lines for a person; ``progress`` redraws one bar at the bottom."""

    stream: TextIO
    _bar: str = ""

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one line above the bar, or redraw the bar."""
        self._erase()
        if record["event"] == "progress":
            self._bar = self._drawn(record)
        else:
            mark = "" if record["severity"] == "INFO" else f"{record['severity']} "
            self.stream.write(f"{record['time'][11:19]} {mark}{record['message']}\n")
        if record["event"] in ("finished", "outcome"):
            self._bar = ""
        self.stream.write(self._bar)
        self.stream.flush()

    def _erase(self) -> None:
        if self._bar:
            self.stream.write("\r\x1b[K")

    @staticmethod
    def _drawn(record: Mapping[str, Any]) -> str:
        share = record["round"] / max(record["of"], 1)
        full = int(share * BAR_WIDTH)
        return f"[{'#' * full}{'.' * (BAR_WIDTH - full)}] {share:4.0%} round {record['round']}/{record['of']}"


#: Told of each event, by its name and its own fields.
Observer = Callable[[str, Mapping[str, Any]], None]


@dataclass
class EventLog:
    """The pod's log. Safe to use from threads; never raises because of what is logged.

    ``fixed`` fields go with every event, and so does the ``round`` of the newest event that has one. ``observers`` are
    told of each event; what they raise is nobody's concern here.
    """

    job_id: str
    sink: Sink
    progress_every_s: float = PROGRESS_EVERY_S
    clock: Callable[[], float] = time.monotonic
    fixed: Mapping[str, Any] = field(default_factory=dict)
    observers: list[Observer] = field(default_factory=list)
    _round: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _progress_at: float = float("-inf")

    def info(self, event: str, message: str, **fields: Any) -> None:
        """Something expected happened."""
        self._write("INFO", event, message, fields)

    def warning(self, event: str, message: str, **fields: Any) -> None:
        """Something went wrong, and the job goes on."""
        self._write("WARNING", event, message, fields)

    def error(self, event: str, message: str, **fields: Any) -> None:
        """The job cannot go on."""
        self._write("ERROR", event, message, fields)

    def progress(self, boosting_round: int, of: int) -> None:
        """``boosting_round`` of ``of`` is trained; said at most every ``progress_every_s`` seconds."""
        now = self.clock()
        if now - self._progress_at >= self.progress_every_s:
            self._progress_at = now
            self.info("progress", f"round {boosting_round}/{of}", round=boosting_round, of=of)

    def _write(self, severity: str, event: str, message: str, fields: Mapping[str, Any]) -> None:
        head = {"severity": severity, "message": message, "time": utc_now(), "job_id": self.job_id, "event": event}
        with self._lock:
            if isinstance(fields.get("round"), int):
                self._round["round"] = fields["round"]
            self.sink.write({**head, **self.fixed, **self._round, **fields})
        for observer in self.observers:
            with contextlib.suppress(Exception):
                observer(event, fields)


class ForwardedRecords(logging.Handler):
    """Hands what libraries log through :mod:`logging` to the event log, as event ``library``."""

    def __init__(self, log: EventLog) -> None:
        super().__init__(level=logging.WARNING)
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Forward one record; an exception's traceback becomes part of the message."""
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            message += "\n" + "".join(traceback.format_exception(record.exc_info[1]))
        write = self.log.error if record.levelno >= logging.ERROR else self.log.warning
        write("library", message, logger=record.name)


def pod_fields(job_id: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """What every line of a pod says of it, as far as ``environ`` knows."""
    fields: dict[str, Any] = {name: environ[variable] for name, variable in WORDS.items() if environ.get(variable)}
    fields |= {name: int(environ[v]) for name, v in NUMBERS.items() if environ.get(v, "").isdecimal()}
    if job_id:
        trace, project = hashlib.sha256(job_id.encode()).hexdigest()[:32], environ.get("GOOGLE_CLOUD_PROJECT", "")
        fields[TRACE] = f"projects/{project}/traces/{trace}" if project else trace
    return fields


def open_log(job_id: str, stream: TextIO | None = None, **fixed: Any) -> EventLog:
    """The log of this process: JSON lines, or lines and a bar when ``stream`` (standard output) is a terminal.

    ``fixed`` fields go with every event, as do those of :func:`pod_fields`. Warnings of libraries are forwarded too.
    """
    out = stream or sys.stdout
    sink = Terminal(out) if out.isatty() else JsonLines(out)
    log = EventLog(job_id=job_id, sink=sink, fixed={**pod_fields(job_id), **fixed})
    logging.getLogger().handlers[:] = [ForwardedRecords(log)]
    return log


def adopt_logger(name: str) -> None:
    """Let a library that set up its own logger ``name`` (Dask does) log warnings through :func:`open_log` instead."""
    logger = logging.getLogger(name)
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.WARNING)
    for child, other in logging.root.manager.loggerDict.items():
        if child.startswith(f"{name}.") and isinstance(other, logging.Logger):
            other.handlers.clear()
            other.propagate = True
