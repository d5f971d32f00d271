"""Laps that people bring: what is accepted, and how each wrong file is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from composer.local.lap_source import UNSEEN, LapsError, LapsSource, SimulatedLaps, validate_laps
from composer.local.laps import main
from f1_training.data.lap_columns import LAP_COLUMNS, SPLIT_COLUMN
from f1_training.data.simulator import SeasonSet, simulate
from f1_training.data.telemetry_simulator import simulate_telemetry

pytestmark = pytest.mark.timeout(60)
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def laps() -> pa.Table:
    return simulate(SeasonSet(seasons=3, races_per_season=2, drivers=3)).combine_chunks()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[pa.Table], Path]:
    def write_laps(table: pa.Table) -> Path:
        pq.write_table(table, tmp_path / "mine.parquet")
        return tmp_path / "mine.parquet"

    return write_laps


def replaced(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def laps_of(source: LapsSource) -> pa.Table:
    return dict(source.tables())["laps"]


def test_good_laps_are_described(laps: pa.Table, write: Callable[[pa.Table], Path]) -> None:
    source = validate_laps(write(laps))
    assert (source.rows, source.races) == (laps.num_rows, 6)
    assert sum(source.splits.values()) == laps.num_rows
    assert set(source.splits) == {"train", "validation", "test"}
    assert laps_of(source).to_pydict() == laps.to_pydict()


def test_without_a_split_the_last_seasons_are_test_and_validation(
    laps: pa.Table, write: Callable[[pa.Table], Path]
) -> None:
    source = validate_laps(write(laps.drop_columns(SPLIT_COLUMN)))
    assert source.seasons == {2021: "train", 2022: "validation", 2023: "test"}
    assert laps_of(source)[SPLIT_COLUMN].to_pylist() == laps[SPLIT_COLUMN].to_pylist()


def test_relatives_of_the_types_are_taken_and_nan_becomes_null(
    laps: pa.Table, write: Callable[[pa.Table], Path]
) -> None:
    times = pc.fill_null(pc.cast(laps["lap_time_ms"], pa.float64()), float("nan"))
    table = replaced(laps, "lap_time_ms", times)
    table = replaced(table, "driver_id", laps["driver_id"].combine_chunks().dictionary_encode())
    table = replaced(table, "circuit_id", laps["circuit_id"].cast(pa.large_string()))
    table = replaced(table, "stint", laps["stint"].cast(pa.int16()))
    loaded = laps_of(validate_laps(write(table)))
    assert loaded.select(list(LAP_COLUMNS)).equals(laps.select(list(LAP_COLUMNS)))


def test_other_columns_come_along_unless_bigquery_cannot_hold_them(
    laps: pa.Table, write: Callable[[pa.Table], Path]
) -> None:
    rows = laps.num_rows
    table = laps.append_column("team", pa.array(["x"] * rows)).append_column("Speed km/h", pa.array([1.0] * rows))
    source = validate_laps(write(table.append_column("sectors", pa.array([[1, 2]] * rows))))
    assert set(source.left_out) == {"Speed km/h", "sectors"}
    assert set(laps_of(source).column_names) == {*laps.column_names, "team"}


def test_a_folder_brings_its_companions(laps: pa.Table, tmp_path: Path) -> None:
    pq.write_table(laps, tmp_path / "laps.parquet")
    telemetry = pa.table({"session_id": ["s"], "driver_code": ["AAA"], "lap_number": pa.array([1], pa.int16())})
    pq.write_table(telemetry, tmp_path / "telemetry_laps.parquet")
    pq.write_table(telemetry, tmp_path / "unrelated.parquet")
    tables = dict(validate_laps(tmp_path).tables())
    assert set(tables) == {"laps", "telemetry_laps"}
    assert tables["telemetry_laps"]["lap_number"].type == pa.int64()


@pytest.mark.parametrize("with_split", [True, False])
def test_laps_to_be_scored_need_no_splits(laps: pa.Table, write: Callable[[pa.Table], Path], with_split: bool) -> None:
    race = laps.filter(pc.equal(laps["race_id"], laps["race_id"][0]))
    source = validate_laps(write(race if with_split else race.drop_columns(SPLIT_COLUMN)), for_scoring=True)
    assert source.splits == {UNSEEN: race.num_rows}
    assert laps_of(source)[SPLIT_COLUMN].unique().to_pylist() == [UNSEEN]


def test_the_simulator_is_a_source_too() -> None:
    (name, table), (beside, telemetry) = SimulatedLaps(seed=3).tables()
    assert (name, table.equals(simulate(SeasonSet(seed=3)))) == ("laps", True)
    assert (beside, telemetry.equals(simulate_telemetry(3))) == ("telemetry_laps", True)


def renamed(table: pa.Table, old: str, new: str) -> pa.Table:
    return table.rename_columns([new if name == old else name for name in table.column_names])


def nulls(table: pa.Table, name: str) -> pa.Table:
    return replaced(table, name, pa.nulls(table.num_rows, table.schema.field(name).type))


def moved(table: pa.Table) -> pa.Table:
    """The first lap alone moves to another split."""
    splits = table[SPLIT_COLUMN].to_pylist()
    return replaced(table, SPLIT_COLUMN, pa.array(["test", *splits[1:]]))


BAD: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "misspelt column": (
        lambda t: renamed(t, "tire_age", "tyre_age"),
        r"lacks the column 'tire_age' \(is it 'tyre_age'\?\)",
    ),
    "missing columns": (lambda t: t.drop_columns(["turns", "stint"]), "lacks the columns 'stint', 'turns'"),
    "text for a number": (
        lambda t: replaced(t, "turns", t["turns"].cast(pa.string())),
        "'turns' is string, INT64 is needed",
    ),
    "number for a flag": (lambda t: replaced(t, "clean_lap", t["turns"]), "'clean_lap' is int64, BOOL is needed"),
    "wrong split type": (lambda t: replaced(t, SPLIT_COLUMN, t["turns"]), "'split' is int64, STRING is needed"),
    "fractions of ms": (
        lambda t: replaced(t, "lap_time_ms", pc.add(pc.cast(t["lap_time_ms"], pa.float64()), 0.5)),
        "'lap_time_ms' does not hold INT64 values",
    ),
    "no rows": (lambda t: t.slice(0, 0), "has no rows"),
    "no lap times": (lambda t: nulls(t, "lap_time_ms"), "'lap_time_ms' is null in every row"),
    "lap times of no type": (
        lambda t: replaced(t, "lap_time_ms", pa.nulls(t.num_rows)),
        "'lap_time_ms' is null in every row",
    ),
    "no clean lap": (lambda t: nulls(t, "clean_lap"), "'clean_lap' is true in no row"),
    "null key": (lambda t: nulls(t, "driver_id"), "'driver_id' is null in"),
    "repeated lap": (
        lambda t: pa.concat_tables([t, t.slice(4, 1)]),
        "1 rows repeat a lap, such as race_id=.*lap_number=5;",
    ),
    "race on both sides": (moved, "a race belongs to one season and one split as a whole"),
    "no test laps": (lambda t: t.filter(pc.not_equal(t[SPLIT_COLUMN], "test")), "no laps of split 'test'"),
    "unknown split": (
        lambda t: replaced(t, SPLIT_COLUMN, pc.if_else(pc.equal(t[SPLIT_COLUMN], "test"), "hold-out", t[SPLIT_COLUMN])),
        "'split' holds 'hold-out'; it may be 'train', 'validation', 'test'",
    ),
    "two seasons, no split": (
        lambda t: t.filter(pc.less(t["season"], 2023)).drop_columns(SPLIT_COLUMN),
        r"no column 'split' and only 2 of the 3 seasons needed to derive it \(2021, 2022\)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_laps_are_refused_in_one_line(
    laps: pa.Table, write: Callable[[pa.Table], Path], case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message = BAD[case]
    path = write(spoil(laps))
    with pytest.raises(LapsError, match=message) as caught:
        validate_laps(path)
    assert caught.value.exit_code == os.EX_DATAERR
    # The command refuses before it looks for BigQuery: there is none at this address.
    assert main(["load", "--laps", str(path), "--rest", "http://127.0.0.1:9"]) == os.EX_DATAERR
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}")
    assert error.count("\n") == 1


def test_a_missing_file_or_folder_member_is_another_exit_code(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "none.parquet", "does not exist"), (tmp_path, r"has no laps\.parquet")):
        with pytest.raises(LapsError, match=message) as caught:
            validate_laps(path)
        assert caught.value.exit_code == os.EX_NOINPUT


def test_what_is_not_parquet_is_said_so(tmp_path: Path, laps: pa.Table) -> None:
    text = tmp_path / "laps.csv"
    text.write_text("race_id,lap\n")
    (tmp_path / "empty.parquet").touch()
    for path in (text, tmp_path / "empty.parquet"):
        with pytest.raises(LapsError, match="is not a Parquet file"):
            validate_laps(path)


def test_a_torn_file_is_refused(tmp_path: Path, laps: pa.Table) -> None:
    path = tmp_path / "torn.parquet"
    pq.write_table(laps, path, compression="gzip")
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 3] = bytes(len(content) // 3 - 4)
    path.write_bytes(content)
    with pytest.raises(LapsError, match=r"torn\.parquet cannot be read"):
        validate_laps(path)


def test_a_companion_without_its_keys_is_refused_with_the_file_named(tmp_path: Path, laps: pa.Table) -> None:
    pq.write_table(laps, tmp_path / "laps.parquet")
    pq.write_table(pa.table({"season": [2021]}), tmp_path / "races.parquet")
    with pytest.raises(LapsError, match=r"races\.parquet lacks 'race_id'"):
        validate_laps(tmp_path)


def test_no_bigquery_answering_is_one_line_and_its_own_exit_code(
    laps: pa.Table,
    write: Callable[[pa.Table], Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lap_tables = pytest.importorskip("composer.local.lap_tables", reason="needs google-cloud-bigquery")
    monkeypatch.setattr(lap_tables, "CONNECT_TIMEOUT_S", 0.5)
    assert main(["load", "--laps", str(write(laps)), "--rest", "http://127.0.0.1:9"]) == os.EX_UNAVAILABLE
    error = capsys.readouterr().err
    assert "BigQuery at http://127.0.0.1:9" in error
    assert error.count("\n") == 1


def test_checking_laps_imports_neither_pandas_nor_the_bigquery_client(
    laps: pa.Table, write: Callable[[pa.Table], Path]
) -> None:
    program = (
        "import sys; from composer.local.laps import validate_laps; validate_laps(sys.argv[1]);"
        "print([m for m in ('pandas', 'google.cloud.bigquery') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(write(laps))],
        cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
