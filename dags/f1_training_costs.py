"""What training costs, by model, run and line of the budget, every day."""

from __future__ import annotations

from airflow.sdk import DAG

from f1_training.operators import CostReportOperator, default_args

DOC = """
### f1_training_costs

Reads Cloud Billing's detailed usage export, and writes a page and a document of what training costs: by line of the
budget (weekly retraining, ad hoc, infrastructure), by service over 30 days, by model and month, by run. Beside it
stands what a month is planned to cost, and whether workers have the size that they need. The button *Cost report*
opens it.

**The owners are told** once the month has used up 80 % of its budget, again above the budget, and at the hard limit.
Above the hard limit `f1_training` starts no run unless its Param *Above the cost limit* is set.

**It is skipped** while the setting `costs.billing_table` is empty. **It failed with `PermissionDenied`:** Airflow's
account needs `roles/bigquery.dataViewer` on the export's dataset. **A run is missing:** the bill is a day or more late;
pods are found in it only with GKE's cost allocation. More is in `docs/costs.md`.
"""

with DAG(
    dag_id="f1_training_costs",
    description="What training costs, beside its budget",
    # In the morning, when the export has most of the day before.
    schedule="0 7 * * *",
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    tags=["f1", "training", "costs"],
    doc_md=DOC,
) as dag:
    CostReportOperator(task_id="report")
