"""Check a run's snapshots before anything is trained on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from f1_training.core.failures import airflow_errors
from f1_training.core.plan import RunPlan
from f1_training.operators.gate import told
from trainer.contract import SnapshotRef, read_catalogue
from trainer.contract.fields import decode

if TYPE_CHECKING:
    from f1_training.bigquery.checks import CheckResult

REPORT = "checks.json"
#: Failed checks that are named where there is no room for all.
WORST = 3


class DataChecksOperator(BaseOperator):
    """Run all checks on both snapshots, log each, keep the report beside the run's artifacts, refuse invalid data.

    Args:
        plan: the run's plan, from task ``plan``.
        snapshots: what :class:`SnapshotOperator` returned.
        closes_gate: a failed check closes the gate of every model that reads the table.

    Returns the report: every check with what was found and what was expected.
    """

    template_fields: Sequence[str] = ("plan", "snapshots")
    ui_color = "#fdf0d5"

    def __init__(self, *, plan: Any, snapshots: Any, closes_gate: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.snapshots = snapshots
        self.closes_gate = closes_gate
        #: Where the report is, once there is one: for whoever is told of a failure.
        self.report_uri = ""

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
            self.report_uri = f"{plan.artifacts_uri}/{REPORT}"
            if self.closes_gate:
                self._close_gate(plan, results)
            checks.require_passed(results, plan.table_name)
        return report

    def _close_gate(self, plan: RunPlan, results: Sequence[CheckResult]) -> None:
        from f1_training.gate.gate import Change, Gate, readers

        failed = [result for result in results if not result.passed]
        if not failed:
            return
        named = ", ".join(result.name for result in failed[:WORST]) + (" and more" if len(failed) > WORST else "")
        change = Change(
            who=f"the validation of run {plan.run_id}",
            reason=f"{len(failed)} of {len(results)} checks failed: {named}",
            run_id=plan.run_id,
            report_uri=self.report_uri,
        )
        gate = Gate(plan.settings.uris.models)
        for model in readers(read_catalogue(), {result.split for result in failed}):
            self.log.error("gate closed: %s", told(gate.close(model, change)))


def _wanted(plan: RunPlan) -> dict[str, dict[str, int]]:
    """For each snapshot the splits it must have, with the rows that each needs at least."""
    return {
        "training": {plan.train_split: plan.entry.checks.min_rows, plan.validation_split: 1},
        "evaluation": {plan.test_split: 1},
    }
