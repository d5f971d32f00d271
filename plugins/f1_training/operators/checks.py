"""Check a run's snapshots before anything is trained on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator

from f1_training.core.failures import airflow_errors
from f1_training.core.plan import RunPlan
from trainer.contract import SnapshotRef
from trainer.contract.fields import decode

REPORT = "checks.json"


class DataChecksOperator(BaseOperator):
    """Run all checks on both snapshots, log each, keep the report beside the run's artifacts, refuse invalid data.

    Args:
        plan: the run's plan, from task ``plan``.
        snapshots: what :class:`SnapshotOperator` returned.

    Returns the report: every check with what was found and what was expected.
    """

    template_fields: Sequence[str] = ("plan", "snapshots")
    ui_color = "#fdf0d5"

    def __init__(self, *, plan: Any, snapshots: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.snapshots = snapshots

    def execute(self, context: Any) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Check, report, and fail with ``DataInvalid`` if a check failed."""
        from f1_training.bigquery import checks
        from f1_training.bigquery.client import Warehouse
        from f1_training.core.storage import open_store, storage_errors

        with airflow_errors():
            plan = RunPlan.from_xcom(self.plan)
            warehouse = Warehouse.connect(plan.settings)
            results: list[checks.CheckResult] = []
            for name, least in _wanted(plan).items():
                table = decode(SnapshotRef, self.snapshots[name], "snapshot").table
                results += checks.judge(warehouse.rows(checks.query(plan.entry, table)), plan.entry, least)
            report = checks.report(results, plan.table_name)
            with storage_errors(f"{plan.artifacts_uri}/{REPORT}"):
                open_store(plan.artifacts_uri).put(REPORT, json.dumps(report, indent=2).encode())
            checks.require_passed(results, plan.table_name)
        return report


def _wanted(plan: RunPlan) -> dict[str, dict[str, int]]:
    """For each snapshot the splits it must have, with the rows that each needs at least."""
    return {
        "training": {plan.train_split: plan.entry.checks.min_rows, plan.validation_split: 1},
        "evaluation": {plan.test_split: 1},
    }
