"""Remove versions of models that nobody needs any more."""

from __future__ import annotations

from airflow.sdk import DAG

from f1_training.operators import RetireOperator, default_args

DOC = """
### f1_model_retention

Every day, removes versions of models that are older than `models_kept_days` (90). Never removed are the champion, the
version that it replaced, and the newest `models_kept` (5). Its log names what is gone; normally that is nothing.

With Vertex AI (`vertex.region`) a version is deleted there first. One that is deployed or has an alias there stays, and
the log says why. When Vertex AI fails nothing more is removed: clear the task, or leave it to the next day.
"""

with DAG(
    dag_id="f1_model_retention",
    description="Remove versions of models that nobody needs",
    schedule="@daily",
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    tags=["f1", "models"],
    doc_md=DOC,
) as dag:
    RetireOperator(task_id="retire")
