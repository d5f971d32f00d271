"""Fix the rows of a run in BigQuery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator

from f1_training.core.failures import airflow_errors
from f1_training.core.plan import RunPlan
from f1_training.operators.attempts import Attempts, AttemptState
from trainer.contract.fields import encode


class SnapshotOperator(BaseOperator):
    """Write the run's two snapshots, one for training and one for evaluation; each source table is scanned once.

    Args:
        plan: the run's plan, from task ``plan``.

    Returns the two snapshots by name: ``training`` and ``evaluation``.
    """

    template_fields: Sequence[str] = ("plan",)
    ui_color = "#d9e8fb"

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def execute(self, context: Any) -> dict[str, Any]:
        """Take both snapshots; a query that a killed process left running is adopted."""
        from f1_training.bigquery import snapshot
        from f1_training.bigquery.client import Warehouse

        attempts = Attempts(context["task_state_store"])
        with airflow_errors():
            plan = RunPlan.from_xcom(self.plan)
            warehouse = Warehouse.connect(plan.settings, labels=snapshot.billing_labels(plan))
            newest = attempts.newest()
            interrupted = newest is not None and newest.state is AttemptState.RUNNING
            number = (newest if newest and interrupted else attempts.begin_next()).number
            parts = (snapshot.training_part(plan), snapshot.evaluation_part(plan))
            try:
                taken = {part.name: encode(snapshot.take(warehouse, plan, part, number)) for part in parts}
            except Exception:
                # Its job ids are used up: BigQuery keeps a failed job under its id.
                attempts.failed(number)
                raise
            attempts.succeeded(number)
        return taken

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002 - the provider's signature
        """The tables that the rows came from, and those that they are in now."""
        from f1_training.bigquery.snapshot import source
        from f1_training.operators.lineage import moved

        plan = RunPlan.from_xcom(self.plan)
        splits = (plan.train_split, plan.validation_split, plan.test_split)
        return moved([source(plan, split) for split in splits], [plan.training_table, plan.evaluation_table])
