"""Whether this deployment can train: checks from Airflow, probes from pods, then a dry run. Started by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param, get_current_context, task

from f1_training.core.settings import POOL
from f1_training.kubernetes.names import Purpose
from f1_training.operators import PreflightChecksOperator, PreflightReportOperator, ProbeOperator, plan_models
from trainer.contract import Engine, read_catalogue
from trainer.contract.catalogue import Splits

DOC = """
### f1_preflight

Run it after a deployment and after a change of permissions, quota or images. It makes every check that it can and ends
with one table, in the log of the task `report`: what passed, what failed, and what to do about it.

| Task | Looks at |
|---|---|
| `checks` | settings, connections, permissions in the cluster, quota, buckets, BigQuery |
| `checks`, where named | Vertex AI, the bill, prediction servers, Cloud Monitoring, alert channels |
| `chief_nodes`, `worker_nodes` | a node comes, the image is pulled, the pod's account reaches buckets and BigQuery |
| `dry_run` | a small run of `f1_training`, which must not be paused: 20 rounds on 2 workers, nothing is registered |

A probe that **stays scheduled** waits for the Airflow pool `f1_training`: it is full, or not there
(`airflow pools set f1_training 4 "jobs in Kubernetes" --include-deferred`).
"""
MODELS = read_catalogue().names
#: One whose tables are there wherever there are laps.
USUAL = next((entry.model_type for entry in read_catalogue().weekly() if entry.splits == Splits()), MODELS[0])
DRY_RUN_CONF = (
    '{"model_type": {{ params.model_type | tojson }}, "engine": {{ params.engine | tojson }}, '
    '"device": {{ params.device | tojson }}, "dry_run": true}'
)
DRY_RUN_ID = "dry_run_of_{{ run_id }}"

with DAG(
    dag_id="f1_preflight",
    description="Check permissions, quota, nodes, storage and BigQuery, then train for 20 rounds",
    schedule=None,
    start_date=datetime(2026, 1, 5, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    params={
        "model_type": Param(
            USUAL, type="string", enum=MODELS, title="Model", description="Whose machine and table to try."
        ),
        "engine": Param(
            None,
            type=["null", "string"],
            enum=[None, *(engine.value for engine in Engine)],
            title="Engine",
            description="Boosting library. Empty: the catalogue's.",
        ),
        "device": Param("cpu", type="string", enum=["cpu", "gpu"], title="Device", description="Which nodes to try."),
    },
    # Nothing is tried again: what fails now is what somebody wants to know.
    default_args={"owner": "race-strategy", "retries": 0},
    tags=["f1", "training"],
    doc_md=DOC,
) as dag:

    @task(task_id="plan", doc_md="The plan of the dry run.")
    def plan() -> dict[str, Any]:
        """One plan, of a dry run on two workers, or as many as the model can use."""
        context = get_current_context()
        return plan_models(context, {**context["params"], "dry_run": True})[0]

    planned = plan()
    checks = PreflightChecksOperator(task_id="checks", plan=planned)
    chief_nodes = ProbeOperator(task_id="chief_nodes", plan=planned, nodes=Purpose.CHIEF_NODES, pool=POOL)
    worker_nodes = ProbeOperator(task_id="worker_nodes", plan=planned, nodes=Purpose.WORKER_NODES, pool=POOL)
    dry_run = TriggerDagRunOperator(
        task_id="dry_run",
        trigger_dag_id="f1_training",
        trigger_run_id=DRY_RUN_ID,
        logical_date=None,
        conf=DRY_RUN_CONF,
        # Clearing the task makes the run anew.
        reset_dag_run=True,
        wait_for_completion=True,
        fail_when_dag_is_paused=True,
        deferrable=True,
        poke_interval=5,
    )
    report = PreflightReportOperator(
        task_id="report",
        plan=planned,
        steps={
            "plan": "plan",
            "checks": "checks",
            "chief_nodes": "nodes of chiefs",
            "worker_nodes": "nodes of workers",
        },
        dry_run=("dry_run", DRY_RUN_ID),
        trigger_rule="all_done",
    )
    checks >> [chief_nodes, worker_nodes] >> dry_run >> report
