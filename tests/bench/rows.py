"""The rows of the benchmark: in the BigQuery stand-in as a snapshot for us, in an Arrow file for the peers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from f1_training.data.parquet import to_bytes
from trainer.contract import SnapshotRef

SHARDS = 40
CHUNK_ROWS = 1_000_000
LOAD_S = 900.0
PROJECT, STAGING = "local", "f1_staging"
#: Counts and flags as laps have them, gaps and times with long tails, and measurements; some are missing at times.
COUNTS = ("tire_age_laps", "stint", "lap_number", "race_laps", "position", "grid_position", "turns", "pit_stops")
FLAGS = ("fresh_tyre", "compound_soft", "compound_medium", "compound_hard", "street_circuit", "wet")
GAPS = ("interval_ahead_ms", "line_gap_ms", "quali_gap_ms", "pole_time_ms")
#: Least and most: an effect that is a product of two of them must show in either alone, or trees find it by chance.
MEASURES = {
    "fuel_fraction": (0.0, 1.0),
    "course_km": (3.3, 7.0),
    "track_temp_c": (15.0, 55.0),
    "air_temp_c": (10.0, 40.0),
    "wind_m_s": (0.0, 12.0),
    "humidity": (0.1, 1.0),
}
FEATURES = (*COUNTS, *FLAGS, *GAPS, *MEASURES)
MISSING = {"interval_ahead_ms": 0.05, "line_gap_ms": 0.05, "quali_gap_ms": 0.02}

Floats = npt.NDArray[np.float32]
Columns = Callable[[np.random.Generator, int], tuple[dict[str, Floats], npt.NDArray[np.float64]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """The same rows twice: ``snapshot`` in BigQuery, ``file`` for the peers (empty where no peer needs them)."""

    name: str
    snapshot: SnapshotRef
    features: tuple[str, ...]
    file: Path | None

    @property
    def rows(self) -> int:
        """Number of training rows."""
        return self.snapshot.total("train")


def simulated(
    bigquery: Any, folder: Path, name: str, rows: int, *, for_peers: bool = True, dense: bool = False
) -> Sample:
    """``rows`` rows of :data:`FEATURES`, sorted by shard, the same for the same ``rows``.

    ``dense``: no laps, but as many features that are all normally distributed, and never missing.
    """
    table = f"{PROJECT}.{STAGING}.bench_{name}"
    file = folder / f"{name}.arrow" if for_peers else None
    with _ArrowFile(file) as peers:
        for number, chunk in enumerate(_chunks(rows, _dense if dense else _laps)):
            peers.write(chunk.select([*FEATURES, "target"]))
            _load(bigquery, chunk, table, first=number == 0)
    counts = np.bincount(_shard_of(np.arange(rows), rows), minlength=SHARDS)
    ref = SnapshotRef(table=table, logical_shards=SHARDS, rows={"train": tuple(int(n) for n in counts)})
    return Sample(name=name, snapshot=ref, features=FEATURES, file=file)


def existing(folder: Path, name: str, snapshot: SnapshotRef, features: Sequence[str]) -> Sample:
    """The training rows of a snapshot that is in BigQuery already, such as one of real laps."""
    from trainer.data import read_split

    table = read_split(snapshot.table, "train", [*features, "target"])
    schema = pa.schema([(n, pa.float32()) for n in features]).append(pa.field("target", pa.float64()))
    file = folder / f"{name}.arrow"
    with _ArrowFile(file) as peers:
        peers.write(table.cast(schema))
    # The peers see training rows only, and so do we.
    alone = SnapshotRef(
        table=snapshot.table, logical_shards=snapshot.logical_shards, rows={"train": snapshot.rows["train"]}
    )
    return Sample(name=name, snapshot=alone, features=tuple(features), file=file)


def _chunks(rows: int, columns_of: Columns) -> Iterator[pa.Table]:
    for number, start in enumerate(range(0, rows, CHUNK_ROWS)):
        keys = np.arange(start, min(rows, start + CHUNK_ROWS))
        columns, target = columns_of(np.random.default_rng(number), len(keys))
        yield (
            pa.table(columns)
            .append_column("target", pa.array(target))
            .append_column("shard", pa.array(_shard_of(keys, rows)))
            .append_column("row_key", pa.array(keys))
        )


def _dense(random: np.random.Generator, count: int) -> tuple[dict[str, Floats], npt.NDArray[np.float64]]:
    columns = {name: random.standard_normal(count, np.float32) for name in FEATURES}
    first, second, third, fourth = (columns[name] for name in FEATURES[:4])
    target = 2 * first + np.sin(3 * second) + third * fourth + 0.3 * random.standard_normal(count)
    return columns, np.asarray(target, np.float64)


def _laps(random: np.random.Generator, count: int) -> tuple[dict[str, Floats], npt.NDArray[np.float64]]:
    columns: dict[str, Floats] = {}
    for most, name in zip(itertools.cycle((45, 5, 70, 78, 20, 20, 27, 4)), COUNTS, strict=False):
        columns[name] = random.integers(0, most, count).astype(np.float32)
    for name in FLAGS:
        columns[name] = (random.random(count) < 0.3).astype(np.float32)
    for name in GAPS:
        columns[name] = np.round(random.lognormal(7.5, 1.0, count)).astype(np.float32)
    for name, (lower, upper) in MEASURES.items():
        columns[name] = random.uniform(lower, upper, count).astype(np.float32)
    target = _delta_ms(columns) + random.standard_t(4, count) * 150
    for name, share in MISSING.items():
        columns[name][random.random(count) < share] = np.nan
    return columns, target


def _delta_ms(columns: dict[str, Floats]) -> npt.NDArray[np.float64]:
    """What a lap takes longer: tyres wear, the softer the faster; fuel burns off; traffic holds up; hot tracks slide."""
    age, soft, hard = columns["tire_age_laps"], columns["compound_soft"], columns["compound_hard"]
    wear = age**1.3 * (4 + 5 * soft - 2 * hard) - 300 * columns["fresh_tyre"] * (age < 3)
    fuel = 250 * columns["fuel_fraction"] * columns["course_km"]
    traffic = 900 * np.exp(-columns["interval_ahead_ms"] / 900) * (1 + columns["street_circuit"])
    weather = 8 * np.abs(columns["track_temp_c"] - 33) + 600 * columns["wet"] * columns["humidity"]
    return np.asarray(wear + fuel + traffic + weather, dtype=np.float64)


def _shard_of(keys: npt.NDArray[np.int64], rows: int) -> npt.NDArray[np.int64]:
    return keys * SHARDS // rows


def _load(bigquery: Any, chunk: pa.Table, table: str, *, first: bool) -> None:
    from google.cloud.bigquery import LoadJobConfig, SourceFormat, WriteDisposition

    if first:
        bigquery.create_dataset(STAGING, exists_ok=True)
    split = pa.array(["train"] * chunk.num_rows).dictionary_encode()
    rows = chunk.append_column("split", split.cast(pa.string()))
    how = WriteDisposition.WRITE_TRUNCATE if first else WriteDisposition.WRITE_APPEND
    config = LoadJobConfig(source_format=SourceFormat.PARQUET, write_disposition=how)
    bigquery.load_table_from_file(to_bytes(rows), table, job_config=config).result(timeout=LOAD_S)


class _ArrowFile:
    """An Arrow file that is written batch by batch; writes nothing without a path."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        if self._path is None:
            return
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pa.ipc.new_file(str(self._path), table.schema)
        self._writer.write_table(table)

    def __enter__(self) -> _ArrowFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
