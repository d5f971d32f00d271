"""Laps that somebody brings, checked before anything is started or written.

A source is a Parquet file of laps, or a folder with ``laps.parquet`` and companions (``COMPANIONS``), or the simulator.
:func:`validate_laps` reads only the columns that are needed, so that a wrong file is refused within about a second.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from f1_training.data.lap_columns import COMPANIONS, LAP_COLUMNS, LAP_KEYS, SPLIT_COLUMN, SPLITS, ColumnType
from f1_training.data.parquet import flat_columns, open_parquet, plain
from f1_training.data.simulator import SeasonSet, simulate
from f1_training.data.sources import TELEMETRY
from f1_training.data.telemetry_simulator import simulate_telemetry

LAPS = "laps"
#: What laps that are only scored are said to belong to.
UNSEEN = "unseen"


class LapsError(ValueError):
    """The laps cannot be used. The message names what is wrong and the fix; ``exit_code`` is the ``sysexits`` one."""

    def __init__(self, message: str, exit_code: int = os.EX_DATAERR) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, kw_only=True, slots=True)
class LapsSource:
    """Checked laps on disk.

    ``seasons`` says which split each season belongs to where the file has no column ``split``, and is empty where it
    has one. ``left_out`` names columns of the file that BigQuery cannot hold as they are; they are not loaded.
    """

    path: Path
    rows: int
    races: int
    splits: Mapping[str, int]
    companions: Mapping[str, Path]
    seasons: Mapping[int, str]
    left_out: tuple[str, ...] = ()

    def tables(self) -> Iterator[tuple[str, pa.Table]]:
        """Name and content of each raw table, ``laps`` first, one in memory at a time."""
        yield LAPS, self._laps()
        for name, path in self.companions.items():
            table = _read(path, None)
            yield name, plain(table.select(flat_columns(table.schema)))

    def _laps(self) -> pa.Table:
        table = _read(self.path, None)
        made = {*LAP_COLUMNS, *([SPLIT_COLUMN] if self.seasons else [])}
        others = [name for name in flat_columns(table.schema) if name not in made]
        needed = _typed(self.path, table.select(list(LAP_COLUMNS)))
        if self.seasons:
            needed = needed.append_column(SPLIT_COLUMN, _split_of_seasons(needed, self.seasons))
        for name, column in zip(others, plain(table.select(others)).columns, strict=True):
            needed = needed.append_column(name, column)
        return needed


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedLaps:
    """The simulator's default season set for ``seed`` (0 or more), as a source."""

    seed: int = SeasonSet().seed

    def __post_init__(self) -> None:
        SeasonSet(seed=self.seed)  # refuses a wrong seed here, not when the laps are wanted

    def tables(self) -> Iterator[tuple[str, pa.Table]]:
        """Laps, and the telemetry of some test days."""
        yield LAPS, simulate(SeasonSet(seed=self.seed))
        yield TELEMETRY, simulate_telemetry(self.seed)


def validate_laps(path: Path | str, *, for_scoring: bool = False) -> LapsSource:
    """Check the laps at ``path``, a Parquet file or a folder; laps ``for_scoring`` need no splits.

    Raises:
        LapsError: with one line that names the problem and the fix; exit code 66 for a missing file, 65 otherwise.
    """
    laps_path, companions = _locate(Path(path))
    schema = _schema(laps_path)
    _check_columns(laps_path, schema)
    names = [*LAP_COLUMNS, *([SPLIT_COLUMN] if SPLIT_COLUMN in schema.names and not for_scoring else [])]
    raw = _read(laps_path, names)
    if not raw.num_rows:
        raise LapsError(f"{laps_path} has no rows; export the laps again")
    table = _typed(laps_path, raw.select(list(LAP_COLUMNS)))
    _check_values(laps_path, table)
    seasons: Mapping[int, str] = {}
    if SPLIT_COLUMN in names:
        splits = pc.cast(raw[SPLIT_COLUMN], pa.string())
    else:
        seasons = _seasons(laps_path, table, for_scoring=for_scoring)
        splits = _split_of_seasons(table, seasons)
    _check_races(laps_path, table.select(["race_id", "season"]).append_column(SPLIT_COLUMN, splits))
    counts = {row["values"]: row["counts"] for row in pc.value_counts(splits).to_pylist()}
    if not for_scoring:
        _check_splits(laps_path, counts)
    flat = {*flat_columns(schema), *LAP_COLUMNS}
    return LapsSource(
        path=laps_path,
        rows=table.num_rows,
        races=len(table["race_id"].unique()),
        splits=counts,
        companions=companions,
        seasons=seasons,
        left_out=tuple(name for name in schema.names if name not in flat),
    )


def _locate(path: Path) -> tuple[Path, dict[str, Path]]:
    """The file of laps, and the companions beside it where a folder was given."""
    if not path.exists():
        raise LapsError(
            f"{path} does not exist; give a Parquet file of laps, or a folder with {LAPS}.parquet", os.EX_NOINPUT
        )
    if path.is_file():
        return path, {}
    laps_path = path / f"{LAPS}.parquet"
    if not laps_path.is_file():
        raise LapsError(f"folder {path} has no {LAPS}.parquet; put the laps there or name their file", os.EX_NOINPUT)
    companions = {name: found for name in COMPANIONS if (found := path / f"{name}.parquet").is_file()}
    for name, found in companions.items():
        missing = [column for column in COMPANIONS[name] if column not in _schema(found).names]
        if missing:
            raise LapsError(f"{found} lacks {_listed(missing)}; add what is missing, or take the file away")
    return laps_path, companions


def _schema(path: Path) -> pa.Schema:
    try:
        return open_parquet(path).schema_arrow
    except ValueError as e:
        raise LapsError(f"{e}; write the table with pyarrow, polars or DuckDB") from e


def _read(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        return pq.ParquetFile(path).read(columns=columns)  # read_table() would import pandas if it is there
    except (pa.ArrowException, OSError) as e:
        raise LapsError(f"{path} cannot be read: {_first_line(e)}; copy or export it again") from e


def _check_columns(path: Path, schema: pa.Schema) -> None:
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise LapsError(f"{path} has {_listed(twice)} twice; keep one of each")
    spare = [name for name in schema.names if name not in (*LAP_COLUMNS, SPLIT_COLUMN)]
    missing = [_suggest(name, spare) for name in LAP_COLUMNS if name not in schema.names]
    if missing:
        what = "column" if len(missing) == 1 else "columns"
        raise LapsError(f"{path} lacks the {what} {', '.join(missing)}; rename or add what is missing")
    optional = {SPLIT_COLUMN: ColumnType.STRING} if SPLIT_COLUMN in schema.names else {}
    wrong = [
        f"{name!r} is {schema.field(name).type}, {kind} is needed"
        for name, kind in {**LAP_COLUMNS, **optional}.items()
        if not kind.admits(schema.field(name).type)
    ]
    if wrong:
        raise LapsError(f"{path} has columns of a wrong type: {'; '.join(wrong)}; cast them before writing the file")


def _suggest(name: str, spare: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(spare), n=1, cutoff=0.6)
    return f"{name!r} (is it {close[0]!r}?)" if close else repr(name)


def _typed(path: Path, table: pa.Table) -> pa.Table:
    """``table``, whose columns are all in ``LAP_COLUMNS``, in exactly their types; NaN becomes null."""
    columns = {}
    for name, column in zip(table.column_names, plain(table).columns, strict=True):
        kind = LAP_COLUMNS[name]
        try:
            columns[name] = pc.cast(column, kind.arrow)
        except pa.ArrowException as e:
            raise LapsError(
                f"{path}: column {name!r} does not hold {kind} values: {_first_line(e)}; correct them"
            ) from e
    return pa.table(columns)


def _check_values(path: Path, table: pa.Table) -> None:
    for name in (*LAP_KEYS, "season"):
        nulls = table[name].null_count
        if nulls:
            raise LapsError(f"{path}: {name!r} is null in {nulls} rows; every lap needs one, remove or fill these rows")
    if table["lap_time_ms"].null_count == table.num_rows:
        raise LapsError(f"{path}: 'lap_time_ms' is null in every row; there is nothing to learn from, export it again")
    if not pc.any(table["clean_lap"]).as_py():
        raise LapsError(f"{path}: 'clean_lap' is true in no row; mark the laps that are green, timed and free of stops")
    codes = _codes(table, LAP_KEYS)
    _, first, counts = np.unique(codes, return_index=True, return_counts=True)
    if len(first) < table.num_rows:
        row = table.select(list(LAP_KEYS)).slice(int(first[counts > 1][0]), 1).to_pylist()[0]
        lap = " ".join(f"{name}={value}" for name, value in row.items())
        more = table.num_rows - len(first)
        raise LapsError(f"{path}: {more} rows repeat a lap, such as {lap}; keep one row a race, driver and lap")


def _seasons(path: Path, table: pa.Table, *, for_scoring: bool) -> dict[int, str]:
    """The split of each season: the last one is the test, the one before it the validation, the rest trains."""
    seasons = sorted(pc.unique(table["season"]).to_pylist())
    if for_scoring:
        return dict.fromkeys(seasons, UNSEEN)
    if len(seasons) < len(SPLITS):
        found = ", ".join(map(str, seasons))
        raise LapsError(
            f"{path} has no column {SPLIT_COLUMN!r} and only {len(seasons)} of the 3 seasons needed to derive it "
            f"({found}); add the column with {_listed(SPLITS)}, or more seasons"
        )
    *rest, validation, test = seasons
    return {**dict.fromkeys(rest, "train"), validation: "validation", test: "test"}


def _split_of_seasons(table: pa.Table, seasons: Mapping[int, str]) -> pa.ChunkedArray:
    known = pa.array(list(seasons), pa.int64())
    return pa.array(list(seasons.values())).take(pc.index_in(table["season"], known).combine_chunks())


def _check_races(path: Path, table: pa.Table) -> None:
    """A race must lie in one season and one split: laps of it on both sides would be leakage."""
    rows = np.unique(_codes(table, ("race_id", "season", SPLIT_COLUMN)), return_index=True)[1]
    seen: dict[str, tuple[int, str | None]] = {}
    for row in (table.slice(int(first), 1).to_pylist()[0] for first in rows):
        found = (row["season"], row[SPLIT_COLUMN])
        other = seen.setdefault(row["race_id"], found)
        if other != found:
            raise LapsError(
                f"{path}: race {row['race_id']!r} is in season {other[0]}, split {other[1]!r} and in season "
                f"{found[0]}, split {found[1]!r}; a race belongs to one season and one split as a whole"
            )


def _codes(table: pa.Table, names: Iterable[str]) -> NDArray[np.int64]:
    """(rows,) one number a row, equal where the columns ``names`` are equal.

    ``group_by`` and ``to_numpy`` would do, but import pandas if it is there: longer than all the checks together.
    """
    codes = np.zeros(table.num_rows, dtype=np.int64)
    for name in names:
        column = table[name].combine_chunks().dictionary_encode(null_encoding="encode")
        indices = np.frombuffer(column.indices.buffers()[1], dtype=np.int32, count=len(codes))
        codes = codes * len(column.dictionary) + indices
    return codes


def _check_splits(path: Path, counts: Mapping[str | None, int]) -> None:
    unknown = sorted(repr(name) for name in counts if name not in SPLITS)
    if unknown:
        raise LapsError(f"{path}: 'split' holds {', '.join(unknown)}; it may be {_listed(SPLITS)}")
    empty = [name for name in SPLITS if not counts.get(name)]
    if empty:
        raise LapsError(f"{path} has no laps of split {_listed(empty)}; each of {_listed(SPLITS)} needs some")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
