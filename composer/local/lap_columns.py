"""The columns that a table of laps must have, with the types BigQuery gives them.

They are the columns of the archived live-timing laps (``laps.parquet``) that ``include/sql/process/split.sql`` reads. A
file may hold more columns; they are loaded beside these.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import pyarrow as pa


class ColumnType(StrEnum):
    """A BigQuery standard SQL type."""

    STRING = "STRING"
    INT64 = "INT64"
    FLOAT64 = "FLOAT64"
    BOOL = "BOOL"

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type in which columns of this type are written."""
        return _ARROW[self]

    def admits(self, found: pa.DataType) -> bool:
        """Whether a column of Arrow type ``found`` can hold this type's values.

        A float column may stand for integers, because writers without nullable integers turn an integer column with
        gaps into floats; its values must then be whole. A column of nulls only has no type of its own.
        """
        value = found.value_type if pa.types.is_dictionary(found) else found
        if pa.types.is_null(value):
            return True
        number = pa.types.is_integer(value) or pa.types.is_floating(value)
        text = pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value)
        match self:
            case ColumnType.STRING:
                return text
            case ColumnType.BOOL:
                return pa.types.is_boolean(value)
            case _:
                return number


_ARROW: Mapping[ColumnType, pa.DataType] = {
    ColumnType.STRING: pa.string(),
    ColumnType.INT64: pa.int64(),
    ColumnType.FLOAT64: pa.float64(),
    ColumnType.BOOL: pa.bool_(),
}

_STRING, _INT64, _FLOAT64, _BOOL = ColumnType.STRING, ColumnType.INT64, ColumnType.FLOAT64, ColumnType.BOOL

#: Name and type of every column that is needed. Times in ms, lengths in km. "End of lap" values describe the moment the
#: car crosses the line at the end of the lap; the process SQL takes them from the lap before.
LAP_COLUMNS: Mapping[str, ColumnType] = MappingProxyType(
    {
        "race_id": _STRING,  # one race, e.g. 2023_R05_miami
        "season": _INT64,  # year
        "circuit_id": _STRING,
        "driver_id": _STRING,
        "lap_number": _INT64,  # from 1
        "lap_time_ms": _INT64,  # null where timing has none (aborted laps, some first laps)
        "position": _INT64,  # end of lap
        "order_at_line": _INT64,  # end of lap: order in which cars complete this lap
        "interval_ahead_ms": _INT64,  # end of lap: to the car that completed this lap before; null for the first one
        "line_gap_any_car_ms": _INT64,  # end of lap: to the last car over the line, whatever its lap
        "compound": _STRING,  # SOFT, MEDIUM, HARD, INTERMEDIATE, WET, UNKNOWN
        "compound_pirelli": _STRING,  # C1 (hardest) to C6; the names of 2018 before
        "tire_age": _INT64,  # laps on the set, this lap included
        "fresh_tyre": _BOOL,  # the set was new when fitted
        "stint": _INT64,  # from 1
        "scheduled_laps": _INT64,
        "course_length_km": _FLOAT64,
        "turns": _INT64,
        "circuit_type": _STRING,  # RACE, STREET, ROAD
        "pole_time_ms": _INT64,
        "quali_best_ms": _INT64,
        "grid_position": _INT64,  # null for a start from the pit lane
        "race_wet_share": _FLOAT64,  # share of the race's laps on wet tyres
        "clean_lap": _BOOL,  # green, timed, no pit stop, not lap 1, slick tyres, < 1.07 x the race's median
    }
)

#: Who belongs to which part of the data. It may be absent from a file: then it follows from the seasons.
SPLIT_COLUMN = "split"
SPLITS: tuple[str, ...] = ("train", "validation", "test")

#: One row of laps is identified by these.
LAP_KEYS: tuple[str, ...] = ("race_id", "driver_id", "lap_number")

#: Tables that may lie beside ``laps.parquet`` in a folder, with the columns that identify their rows.
COMPANIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sprint_laps": LAP_KEYS,
        "results": ("race_id", "driver_id"),
        "pit_stops": LAP_KEYS,
        "races": ("race_id",),
        "telemetry_laps": ("session_id", "driver_code", "lap_number"),
    }
)
