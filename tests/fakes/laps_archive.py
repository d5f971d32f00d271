"""A small archive of laps with races and official results that fit them, real where it can be had."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from f1_training.data.simulator import SeasonSet, simulate

Archive = dict[str, pa.Table]
REAL = Path(os.environ.get("F1_LAPS") or Path(__file__).parents[3] / "shared" / "data" / "laps.parquet").parent
SEASONS = (2023, 2024, 2025)


def simulated() -> Archive:
    """Six races of three seasons, and races and results made from them. Small: it is loaded many times."""
    laps = simulate(SeasonSet(seasons=3, races_per_season=2, drivers=10, first_season=SEASONS[0]))
    dates = pc.binary_join_element_wise(pc.cast(laps["season"], pa.string()), pa.scalar("06-01"), "-")
    laps = laps.append_column("race_date", dates)
    summed = laps.group_by(["race_id", "driver_id"]).aggregate([("lap_time_ms", "sum"), ("lap_number", "count")])
    results = pa.table(
        {
            "session": pa.array(["R"] * summed.num_rows),
            "race_id": summed["race_id"],
            "driver_id": summed["driver_id"],
            "laps_completed": pc.cast(summed["lap_number_count"], pa.float64()),
            "finish_time_ms": pc.cast(summed["lap_time_ms_sum"], pa.float64()),
        }
    )
    races = laps.group_by(["race_id", "season"]).aggregate([])
    return {"laps": laps, "races": races, "results": results}


def real() -> Archive:
    """The first two races of three seasons of the archive beside the project, as they were timed."""
    names = ("laps", "races", "results")
    tables = {name: pq.read_table(REAL / f"{name}.parquet") for name in names}
    laps = tables["laps"]
    keep = pc.and_(pc.is_in(laps["season"], pa.array(SEASONS, laps["season"].type)), pc.less_equal(laps["round"], 2))
    tables["laps"] = laps.filter(keep)
    races = pc.unique(tables["laps"]["race_id"])
    return {name: table.filter(pc.is_in(table["race_id"], races)) for name, table in tables.items()}


def changed(table: pa.Table, column: str, where: pa.ChunkedArray, value: object) -> pa.Table:
    """``table`` with ``column`` replaced, where ``where`` is true, by a value or by another column."""
    number = table.schema.get_field_index(column)
    kind = table.schema.field(column).type
    new = value if isinstance(value, pa.ChunkedArray | pa.Array) else pa.scalar(value, kind)
    return table.set_column(number, column, pc.cast(pc.if_else(where, new, table[column]), kind))


def in_race(table: pa.Table, number: int = 0) -> pa.ChunkedArray:
    """Which rows are of one race."""
    return pc.equal(table["race_id"], sorted(set(table["race_id"].to_pylist()))[number])


def with_table(archive: Mapping[str, pa.Table], name: str, table: pa.Table) -> Archive:
    """The archive with one table replaced."""
    return {**archive, name: table}
