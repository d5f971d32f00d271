"""From raw laps to candidates for the tables that models are trained and scored on."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from f1_training.bigquery import sql
from f1_training.bigquery.client import Destination, Written
from f1_training.bigquery.sql import Parameter, Query
from f1_training.core.settings import DataSettings, Settings
from f1_training.data.ingest import raw_table
from f1_training.data.lap_columns import LAPS, SPLITS
from f1_training.data.suite import Suite, strategy_suites
from trainer.contract import FailureReason, TrainingFailure

log = logging.getLogger(__name__)

#: Value of the SQL's parameter ``split`` that takes every lap.
ALL = "all"


class Warehouse(Protocol):
    """What is asked of the warehouse."""

    def ensure_dataset(self, name: str, *, expires: bool = True) -> None:
        """Make a dataset where it is missing."""

    def columns(self, table: str) -> dict[str, str] | None:
        """A table's columns, None where there is no table."""

    def rows(self, query: Query) -> list[dict[str, Any]]:
        """The rows of a small result."""

    def write(self, query: Query, destination: Destination, job_id: str) -> Written:
        """Replace a table by a query's rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeasonSplit:
    """The first season of the validation rows and of the test rows. ``by_season``: whatever the laps say themselves."""

    validation_season: int
    test_season: int
    by_season: bool

    def parameters(self, split: str) -> dict[str, Parameter]:
        """Of the SQL of ``process``, for the rows of ``split``."""
        return {
            "split": ("STRING", split),
            "by_season": ("BOOL", self.by_season),
            "validation_season": ("INT64", self.validation_season),
            "test_season": ("INT64", self.test_season),
        }


def season_split(data: DataSettings, seasons: Iterable[Mapping[str, Any]]) -> SeasonSplit:
    """The split of the seasons, from the settings, or else from rows of ``process/seasons.sql``.

    Raises:
        TrainingFailure: ``DataInvalid`` when neither says it.
    """
    if data.validation_season is not None and data.test_season is not None:
        return SeasonSplit(validation_season=data.validation_season, test_season=data.test_season, by_season=True)
    rows = list(seasons)
    found = sorted(int(row["season"]) for row in rows if row["season"] is not None)
    if len(found) >= 3:
        return SeasonSplit(validation_season=found[-2], test_season=found[-1], by_season=False)
    if rows and all(row["with_split"] == row["row_count"] for row in rows):
        return SeasonSplit(validation_season=0, test_season=0, by_season=False)
    message = (
        f"laps of 3 seasons or more are needed to tell training, validation and test rows apart, there are "
        f"{', '.join(map(str, found)) or 'none'}; ingest more, fill the column split, or set data.validation_season "
        "and data.test_season in the Variable f1_training"
    )
    raise TrainingFailure(FailureReason.DATA_INVALID, message)


def split_query(suite: Suite, raw: Mapping[str, str], split: str, seasons: SeasonSplit) -> Query:
    """The SQL of ``suite`` for the rows of ``split``, over the raw tables that it needs, full names by name."""
    text = sql.render(sql.load(suite.query), {f"{name}_table": sql.table(raw[name]) for name in suite.needs})
    parameters = {name: value for name, value in seasons.parameters(split).items() if f"@{name}" in text}
    return Query(sql=text, parameters=parameters)


def candidate_table(settings: Settings, run: str, label: str) -> str:
    """Full name of a candidate for the table ``label``; ``run`` tells those of several runs apart."""
    return f"{settings.project}.{settings.datasets.candidates}.{run}_{label}"


def process(warehouse: Warehouse, settings: Settings, run: str) -> dict[str, str]:
    """Write a candidate for each table that there is raw data for; their full names by label.

    Raises:
        TrainingFailure: ``DataInvalid`` when there are no laps; what BigQuery refused.
    """
    laps = raw_table(settings, LAPS)
    if warehouse.columns(laps) is None:
        message = f"there is no table {laps}: nothing was ingested yet; run f1_data with a source"
        raise TrainingFailure(FailureReason.DATA_INVALID, message)
    warehouse.ensure_dataset(settings.datasets.candidates)
    counted = sql.render(sql.load("process/seasons.sql"), {"laps_table": sql.table(laps)})
    seasons = season_split(settings.data, warehouse.rows(Query(sql=counted)))
    log.info("%s", seasons)
    candidates = {}
    for suite in strategy_suites().values():
        raw = {name: raw_table(settings, name) for name in suite.needs}
        if missing := [name for name, table in raw.items() if warehouse.columns(table) is None]:
            log.warning("no %s: nothing was ingested as %s", ", ".join(suite.labels), ", ".join(missing))
            continue
        for split, label in zip(SPLITS, suite.labels, strict=True):
            table = candidate_table(settings, run, label)
            destination = Destination(table=table, days=settings.snapshot_days, labels={}, clustered_by=(suite.group,))
            query = split_query(suite, raw, split, seasons)
            warehouse.write(query, destination, f"{run}_{label}_{uuid.uuid4().hex[:8]}")
            candidates[label] = table
    return candidates
