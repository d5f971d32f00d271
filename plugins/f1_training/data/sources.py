"""Where raw tables come from: files below a folder or a bucket's prefix, the simulator, or FastF1.

A source is a list of parts: a file, or a table in memory, of one raw table. A part is read in batches, so that memory
is bounded whatever its size, and can be read again.
"""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq

import f1_training
import trainer
from f1_training.core.storage import storage_errors
from f1_training.data.suite import Suite, raw_suites
from trainer.contract import FailureReason, TrainingFailure

BATCH_ROWS = 65_536
CSV_BLOCK_BYTES = 8 << 20
#: A season is some 25 races of some 30 s each, if the service is not slow.
FETCH_S = 3600.0
PARQUET, CSV = ".parquet", ".csv"
SIMULATOR, FASTF1 = "simulator", "fastf1"
LAPS, TELEMETRY = "laps", "telemetry_laps"
EXAMPLE = "gs://my-landing/laps, file:///data/laps.parquet, simulator, simulator:2024, fastf1:2025 or fastf1:2025:1,2"


class PartError(ValueError):
    """A part cannot be read. The message names it and what is wrong."""


class Part(Protocol):
    """Rows of one raw table."""

    @property
    def table(self) -> str:
        """The raw table's name."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    def schema(self) -> pa.Schema:
        """Its columns.

        Raises:
            PartError: it cannot be read.
        """

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Its rows, of these columns.

        Raises:
            PartError: it cannot be read.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a source holds. ``ignored`` are files that belong to no raw table."""

    parts: tuple[Part, ...]
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TablePart:
    """A table in memory."""

    table: str
    name: str
    rows: pa.Table

    def schema(self) -> pa.Schema:
        """Its columns."""
        return self.rows.schema

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Its rows, of these columns."""
        yield from self.rows.select(list(columns)).to_batches(max_chunksize=BATCH_ROWS)


@dataclass(frozen=True, kw_only=True, slots=True)
class FilePart:
    """A Parquet or CSV file on any file system that fsspec opens."""

    table: str
    name: str
    filesystem: Any
    path: str

    def schema(self) -> pa.Schema:
        """The file's columns; of a CSV file those that are declared have their declared types.

        Raises:
            PartError: it cannot be read.
        """
        with self._open() as file:
            if self.path.endswith(PARQUET):
                return pq.ParquetFile(file).schema_arrow
            return self._csv(file).schema

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The file's rows, of these columns.

        Raises:
            PartError: it cannot be read.
        """
        with self._open() as file:
            if self.path.endswith(PARQUET):
                yield from pq.ParquetFile(file).iter_batches(batch_size=BATCH_ROWS, columns=list(columns))
            else:
                for batch in self._csv(file):
                    yield batch.select(list(columns))

    def _csv(self, file: Any) -> Any:
        suite = raw_suites()[self.table]
        convert = pc_csv.ConvertOptions(
            column_types={name: column.type.arrow for name, column in suite.columns.items()},
            strings_can_be_null=True,
        )
        return pc_csv.open_csv(
            file, read_options=pc_csv.ReadOptions(block_size=CSV_BLOCK_BYTES), convert_options=convert
        )

    def _open(self) -> Any:
        return _Opened(self.name, self.filesystem, self.path)


@dataclass(slots=True)
class _Opened:
    """An open file whose errors, and those of reading it, name it."""

    name: str
    filesystem: Any
    path: str
    file: Any = None

    def __enter__(self) -> Any:
        with storage_errors(self.name):
            self.file = self.filesystem.open(self.path, "rb")
        return self.file

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        self.file.close()
        if isinstance(error, pa.ArrowException):
            raise PartError(f"{self.name} cannot be read: {str(error).splitlines()[0]}") from error
        if isinstance(error, Exception):
            with storage_errors(self.name):
                raise error


def open_source(text: str, *, today: date, scratch: Path, python: str = "") -> Found:
    """The source that ``text`` names: a URI, ``simulator[:seed]`` or ``fastf1:season[:rounds]``.

    Args:
        text: see :data:`EXAMPLE`.
        today: races after it have not been run.
        scratch: a folder for what FastF1 downloads.
        python: the interpreter of an environment with FastF1; by default this one.

    Raises:
        TrainingFailure: ``ConfigInvalid`` for a source that is unknown or holds nothing; what the storage refused.
    """
    kind, _, rest = text.partition(":")
    if kind == SIMULATOR:
        return _simulated(rest, text)
    if kind == FASTF1:
        return _fetched(rest, text, today, scratch, python or sys.executable)
    if "://" in text:
        return _landed(text)
    raise TrainingFailure(FailureReason.CONFIG_INVALID, f"source {text!r} is unknown; examples: {EXAMPLE}")


def _simulated(rest: str, text: str) -> Found:
    from f1_training.data.simulator import SeasonSet, simulate
    from f1_training.data.telemetry_simulator import simulate_telemetry

    if rest and not rest.isdecimal():
        raise TrainingFailure(FailureReason.CONFIG_INVALID, f"source {text!r}: the seed is a whole number, 0 or more")
    settings = SeasonSet(seed=int(rest)) if rest else SeasonSet()
    name = f"simulator:{settings.seed}"
    telemetry = TablePart(table=TELEMETRY, name=name, rows=simulate_telemetry(settings.seed))
    return Found(parts=(TablePart(table=LAPS, name=name, rows=simulate(settings)), telemetry))


def _fetched(rest: str, text: str, today: date, scratch: Path, python: str) -> Found:
    """What FastF1 knows, fetched by a process of its own: the library wants other versions than Airflow has."""
    found = re.fullmatch(r"(\d{4})(?::(\d+(?:,\d+)*))?", rest)
    if found is None:
        message = f"source {text!r}: expected a season, and rounds if not all: fastf1:2025 or fastf1:2025:1,2"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    into = scratch / "fetched"
    command = [python, "-m", "f1_training.data.fastf1_fetch", "--season", found[1], "--rounds", found[2] or ""]
    command += ["--today", today.isoformat(), "--into", str(into), "--cache", str(scratch / "cache")]
    path = os.pathsep.join(dict.fromkeys(str(Path(module.__path__[0]).parent) for module in (f1_training, trainer)))
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=FETCH_S,
        )
    except FileNotFoundError as e:
        message = f"data.fastf1_python names {python}, which is not there; give an environment's interpreter"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e
    except subprocess.TimeoutExpired as e:
        message = f"{text}: FastF1 was not done within {FETCH_S:.0f} s; name fewer rounds"
        raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, message) from e
    if done.returncode:
        reason, _, message = (done.stderr.strip().splitlines() or [""])[-1].partition(": ")
        known = reason in tuple(FailureReason)
        raise TrainingFailure(FailureReason(reason) if known else FailureReason.BUG, message or done.stderr[-2000:])
    return _landed(f"file://{into}")


def _landed(uri: str) -> Found:
    from fsspec.core import url_to_fs

    try:
        filesystem, root = url_to_fs(uri)
    except (ValueError, ImportError) as e:
        message = f"source {uri}: no file system serves this URI ({e}); use gs:// or file://"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e
    with storage_errors(uri):
        if filesystem.isfile(root):
            # A single file is laps, whatever it is called, unless its name says otherwise.
            part = FilePart(table=_table_of(root) or LAPS, name=uri, filesystem=filesystem, path=root)
            if not root.endswith((PARQUET, CSV)):
                message = f"source {uri} is neither a {PARQUET} nor a {CSV} file"
                raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
            return Found(parts=(part,))
        paths = sorted(filesystem.find(root))
    parts, ignored = [], []
    for path in paths:
        name = f"{uri.rstrip('/')}/{posixpath.relpath(path, root)}"
        table = _table_of(path)
        if table is None or not path.endswith((PARQUET, CSV)):
            ignored.append(name)
        else:
            parts.append(FilePart(table=table, name=name, filesystem=filesystem, path=path))
    if not parts:
        tables = ", ".join(raw_suites())
        message = f"source {uri} holds no file of a table; files are named after one ({tables}), such as laps.parquet"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    return Found(parts=tuple(parts), ignored=tuple(ignored))


def _table_of(path: str) -> str | None:
    """The raw table that a file's name begins with: ``laps.parquet``, ``laps-2025-R05.csv``, ``pit_stops_2024.csv``."""
    stem = posixpath.basename(path).rpartition(".")[0].lower()
    fits = [t for t in raw_suites() if stem == t or re.match(rf"{t}[-_.\d]", stem)]
    return max(fits, key=len, default=None)


def declared(suite: Suite, schema: pa.Schema) -> list[str]:
    """The columns of ``schema`` that the suite knows."""
    return [name for name in suite.columns if name in schema.names]
