"""The bill: Cloud Billing's detailed usage export, asked through BigQuery."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from f1_training.bigquery import sql
from f1_training.bigquery.client import Warehouse
from f1_training.bigquery.sql import Parameter, Query
from f1_training.core.settings import Settings
from f1_training.costs.spending import since
from trainer.contract import FailureReason, TrainingFailure

LABELS = {"f1-training-part": "costs"}
#: Columns that ``costs/spent.sql`` reads.
READ = ("cost", "credits", "currency_conversion_rate", "labels", "project", "service", "usage_start_time")
#: Only the detailed export has it; the standard one has the columns above, and no labels of pods in them.
DETAILED = "resource"


def bill(settings: Settings) -> Warehouse:
    """BigQuery where the export lies.

    Raises:
        TrainingFailure: ``PermissionDenied`` when there are no usable credentials.
    """
    location = settings.costs.location or settings.location
    return Warehouse.connect(replace(settings, location=location), labels=LABELS)


def spent_query(settings: Settings, today: date) -> Query:
    """What the project has spent, from the first day that a report of ``today`` shows."""
    text = sql.render(sql.load("costs/spent.sql"), {"billing_table": sql.table(settings.costs.billing_table)})
    first = since(today, settings.costs).isoformat()
    parameters: dict[str, Parameter] = {"project": ("STRING", settings.project), "since": ("DATE", first)}
    return Query(sql=text, parameters=parameters)


def readiness(warehouse: Warehouse, settings: Settings, today: date) -> str:
    """Whether the bill could be read; nothing is read, and nothing is billed.

    Raises:
        TrainingFailure: ``ConfigInvalid`` when the export is not there, is the standard one or lacks a column;
            whatever BigQuery says of the query.
    """
    table = settings.costs.billing_table
    columns = warehouse.columns(table)
    if columns is None:
        raise TrainingFailure(FailureReason.CONFIG_INVALID, f"costs.billing_table: {table} is not there")
    if DETAILED not in columns:
        message = f"{table} has no column {DETAILED}: it is not the detailed usage cost export, and has no pods in it"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    if missing := [name for name in READ if name not in columns]:
        message = f"{table} lacks {', '.join(missing)}, which the cost report reads"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    scanned = warehouse.estimated_bytes(spent_query(settings, today))
    where = settings.costs.location or settings.location
    return f"{table} in {where}: a report scans {scanned:,} bytes; nothing was read"
