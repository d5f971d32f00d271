"""The raw table ``car_laps`` where nobody has measured it: simulated from the laps that are being ingested."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from f1_training.bigquery import sql
from f1_training.bigquery.sql import Query
from f1_training.core.settings import Settings
from f1_training.data.car_simulator import LAP_INPUTS, simulate_car
from f1_training.data.ingest import Batch, raw_table
from f1_training.data.lap_columns import LAPS
from f1_training.data.suite import raw_suites

CAR_LAPS = "car_laps"


class Tables(Protocol):
    """What is asked of the warehouse."""

    def columns(self, table: str) -> dict[str, str] | None:
        """A table's columns, None where there is no table."""

    def rows(self, query: Query) -> list[dict[str, Any]]:
        """The rows of a small result."""


def measured_races(warehouse: Tables, settings: Settings) -> frozenset[str]:
    """The races whose car laps in the raw table are measurements.

    Raises:
        TrainingFailure: what BigQuery refused.
    """
    table = raw_table(settings, CAR_LAPS)
    if warehouse.columns(table) is None:
        return frozenset()
    text = sql.render(sql.load("ingest/measured.sql"), {"car_laps_table": sql.table(table)})
    return frozenset(str(row["race_id"]) for row in warehouse.rows(Query(sql=text)))


def with_car_laps(batches: Sequence[Batch], measured: Collection[str]) -> list[Batch]:
    """``batches``, and one more of simulated car laps where they have laps but none of these.

    ``measured`` races are left out: what somebody has measured is never replaced by a simulation.
    """
    laps = next((batch for batch in batches if batch.suite.name == LAPS), None)
    if laps is None or any(batch.suite.name == CAR_LAPS for batch in batches):
        return list(batches)
    wanted = sorted(set(laps.groups) - set(measured))
    return [*batches, _simulated(laps, wanted)] if wanted else list(batches)


def _simulated(laps: Batch, races: Sequence[str]) -> Batch:
    rows = pq.read_table(laps.file, columns=list(LAP_INPUTS))
    laps.file.seek(0)
    car = simulate_car(rows.filter(pc.is_in(rows["race_id"], value_set=pa.array(races, rows["race_id"].type))))
    suite = raw_suites()[CAR_LAPS]
    schema = pa.schema([(name, column.type.arrow) for name, column in suite.columns.items()])
    file = tempfile.TemporaryFile(prefix=f"f1-{CAR_LAPS}-")  # noqa: SIM115 - it outlives this function
    try:
        pq.write_table(car.select(schema.names).cast(schema), file, compression="snappy", store_schema=False)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return Batch(suite=suite, file=file, rows=car.num_rows, groups=tuple(races))
