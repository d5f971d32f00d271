"""Check a run's snapshots before anything is trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from f1_training.core.failures import airflow_errors
from f1_training.core.plan import RunPlan
from f1_training.operators.gate import GATES
from f1_training.operators.reports import ReportLink, close_gates, keep_report
from trainer.contract import SnapshotRef, read_catalogue
from trainer.contract.fields import decode

if TYPE_CHECKING:
    from f1_training.core.results import CheckResult


class DataChecksOperator(BaseOperator):
    """Run all checks on both snapshots, log each, keep the report beside the run's artifacts, refuse invalid data.

    Args:
        plan: the run's plan, from task ``plan``.
        snapshots: what :class:`SnapshotOperator` returned.
        closes_gate: a failed check closes the gate of every model that reads the table.

    Returns the report: every check with what was found and what was expected.
    """

    template_fields: Sequence[str] = ("plan", "snapshots")
    operator_extra_links = (ReportLink(),)
    ui_color = "#fdf0d5"

    def __init__(self, *, plan: Any, snapshots: Any, closes_gate: bool = True, **kwargs: Any) -> None:
        super().__init__(inlets=[GATES], **kwargs)
        self.plan = plan
        self.snapshots = snapshots
        self.closes_gate = closes_gate
        #: Where the report is, once there is one: for whoever is told of a failure.
        self.report_uri = ""

    def execute(self, context: Any) -> dict[str, Any]:
        """Check, report, and fail with ``DataInvalid`` if a check failed."""
        from f1_training.bigquery import checks
        from f1_training.bigquery.client import Warehouse
        from f1_training.bigquery.snapshot import billing_labels
        from f1_training.core.results import require_passed

        with airflow_errors():
            plan = RunPlan.from_xcom(self.plan)
            warehouse = Warehouse.connect(plan.settings, labels=billing_labels(plan))
            results: list[CheckResult] = []
            for name, least in _wanted(plan).items():
                table = decode(SnapshotRef, self.snapshots[name], "snapshot").table
                results += checks.judge(warehouse.rows(checks.query(plan.entry, table)), plan.entry, least)
            title = f"Data checks of {plan.model_type}"
            facts = {"run": plan.run_id, "tables": ", ".join(ref["table"] for ref in self.snapshots.values())}
            kept = keep_report(plan.artifacts_uri, title, facts, results, plan.table_name)
            self.report_uri = kept.uri
            if self.closes_gate:
                self._close_gate(plan, results, context)
            require_passed(results, plan.table_name)
        return kept.report

    def _close_gate(self, plan: RunPlan, results: Sequence[CheckResult], context: Any) -> None:
        from f1_training.gate.gate import readers

        failed = {result.split for result in results if result.failed}
        models = readers(read_catalogue(), failed)
        close_gates(context, plan.settings.uris.models, models, results, plan.run_id, self.report_uri)


def _wanted(plan: RunPlan) -> dict[str, dict[str, int]]:
    """For each snapshot the splits it must have, with the rows that each needs at least."""
    return {
        "training": {plan.train_split: plan.entry.checks.min_rows, plan.validation_split: 1},
        "evaluation": {plan.test_split: 1},
    }
