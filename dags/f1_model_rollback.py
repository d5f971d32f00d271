"""Let an earlier version of a model serve again."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from f1_training.operators import FollowChampionOnVertexOperator, RollBackOperator, default_args
from trainer.contract import read_catalogue

DOC = """
### f1_model_rollback

Moves the alias `champion` of a model back to an earlier version, in one step. Nothing is deleted: the version that is
rolled back stays in the registry, and the history of the alias says who moved it and why.

Leave *Version* empty for the version that the champion replaced. `make models` lists all of them.

`follow_on_vertex` then moves Vertex AI's alias, and where the model has an endpoint there all of its requests; it is
skipped unless the settings name a region (`vertex.region`). Should it fail, clear this task only: `roll_back` with an
empty version, done once more, would go back one further.

A later training run compares with the champion of its time, which is then the version rolled back to.
"""

with DAG(
    dag_id="f1_model_rollback",
    description="Let an earlier version of a model serve again",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    params={
        "model_type": Param(
            read_catalogue().names[0],
            type="string",
            enum=read_catalogue().names,
            title="Model",
            description="Whose champion.",
        ),
        "version": Param(
            "",
            type="string",
            title="Version",
            description="Which is to serve, such as 20261123-221530-3f2a91. Empty: the one that the champion replaced.",
        ),
        "reason": Param("", type="string", title="Reason", description="Why, for who comes after."),
    },
    default_args=default_args(),
    tags=["f1", "models"],
    doc_md=DOC,
) as dag:
    roll_back = RollBackOperator(
        task_id="roll_back",
        model_type="{{ params.model_type }}",
        version="{{ params.version }}",
        reason="{{ params.reason }}",
    )
    roll_back >> FollowChampionOnVertexOperator(task_id="follow_on_vertex", model_type="{{ params.model_type }}")
