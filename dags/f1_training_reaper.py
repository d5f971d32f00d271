"""Delete training jobs that no DAG run will ask for any more, every hour."""

from __future__ import annotations

from airflow.sdk import DAG

from f1_training.operators import ReaperOperator, default_args

DOC = """
### f1_training_reaper

A safety net: deletes Jobs in Kubernetes whose DAG run is over, or was deleted while it trained. Jobs younger than ten
minutes are left alone. Its log names every Job that it deleted; normally there are none.
"""

with DAG(
    dag_id="f1_training_reaper",
    description="Delete training jobs without a live run",
    schedule="@hourly",
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    tags=["f1", "training"],
    doc_md=DOC,
) as dag:
    ReaperOperator(task_id="reap")
