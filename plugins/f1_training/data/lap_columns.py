"""The raw tables' columns, as their suites declare them: what a table of laps must have, and what may lie beside it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from f1_training.data.suite import SPLIT, ColumnType, raw_suites, strategy_suites

__all__ = ["COMPANIONS", "LAPS", "LAP_COLUMNS", "LAP_KEYS", "SPLITS", "SPLIT_COLUMN", "ColumnType"]

#: The table without which there is nothing to train on.
LAPS = "laps"
_LAPS = raw_suites()[LAPS]

#: Name and type of every column of laps that is needed. A file may hold more; those that are declared are loaded too.
LAP_COLUMNS: Mapping[str, ColumnType] = MappingProxyType({name: _LAPS.columns[name].type for name in _LAPS.needed})

#: Who belongs to which part of the data. It may be absent from a file: then it follows from the seasons.
SPLIT_COLUMN = SPLIT
SPLITS: tuple[str, ...] = strategy_suites()["strategy"].labels

#: One row of laps is identified by these.
LAP_KEYS: tuple[str, ...] = _LAPS.keys

#: Tables that may lie beside ``laps.parquet`` in a folder, with the columns that they need.
COMPANIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: suite.needed for name, suite in raw_suites().items() if name != LAPS}
)
