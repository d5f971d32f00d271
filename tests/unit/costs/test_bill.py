"""Whether the bill could be read, without reading it."""

import re
from datetime import date
from typing import Any

import pytest

from f1_training.bigquery import sql
from f1_training.bigquery.sql import Query
from f1_training.costs.bill import DETAILED, READ, readiness, spent_query
from tests.fakes.run_plan import settings
from trainer.contract import FailureReason, TrainingFailure

TODAY = date(2026, 11, 27)
TABLE = "billing-project.billing.gcp_billing_export_resource_v1_01A2B3_C4D5E6_F7A8B9"
DEPLOYED = settings(costs={"billing_table": TABLE, "location": "EU"})
COLUMNS = dict.fromkeys((*READ, DETAILED), "RECORD")


class Export:
    """The table, as BigQuery would tell of it."""

    def __init__(self, columns: dict[str, str] | None) -> None:
        self.found = columns
        self.estimated: list[Query] = []

    def columns(self, table: str) -> dict[str, str] | None:
        assert table == TABLE
        return self.found

    def estimated_bytes(self, query: Query) -> int:
        self.estimated.append(query)
        return 12_345


def ready(columns: dict[str, str] | None) -> str:
    warehouse: Any = Export(columns)
    return readiness(warehouse, DEPLOYED, TODAY)


def test_the_report_s_own_query_is_estimated() -> None:
    warehouse: Any = Export(COLUMNS)
    assert readiness(warehouse, DEPLOYED, TODAY) == f"{TABLE} in EU: a report scans 12,345 bytes; nothing was read"
    assert warehouse.estimated == [spent_query(DEPLOYED, TODAY)]
    assert f"FROM `{TABLE}`" in warehouse.estimated[0].sql


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        (None, "is not there"),
        ({name: kind for name, kind in COLUMNS.items() if name != DETAILED}, "not the detailed usage cost export"),
        ({name: kind for name, kind in COLUMNS.items() if name not in ("labels", "credits")}, "lacks credits, labels"),
    ],
)
def test_another_table_is_refused(columns: dict[str, str] | None, problem: str) -> None:
    with pytest.raises(TrainingFailure, match=problem) as caught:
        ready(columns)
    assert caught.value.reason is FailureReason.CONFIG_INVALID
    assert TABLE in str(caught.value)


def test_the_columns_are_those_that_the_query_reads() -> None:
    text = re.sub(r"--.*", "", sql.load("costs/spent.sql"))
    body = text[text.index("usage AS") : text.index("FROM ${billing_table}")] + text[text.index("WHERE") :]
    assert [name for name in READ if not re.search(rf"\b{name}\b", body)] == []
