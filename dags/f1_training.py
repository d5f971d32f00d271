"""Retrain Formula 1 strategy models, a branch a model: gate to serve, by way of train and register."""

from __future__ import annotations

from typing import Any

from airflow.sdk import (
    DAG,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    Param,
    TaskGroup,
    get_current_context,
    task,
    task_group,
)

from f1_training.core.settings import POOL
from f1_training.operators import (
    ASSETS,
    AskToOpenOperator,
    DaskTrainingOperator,
    DataChecksOperator,
    DeployToVertexOperator,
    EvaluationOperator,
    GateOperator,
    RegisterModelOperator,
    ServeOperator,
    SnapshotOperator,
    UploadToVertexOperator,
    check_cost,
    default_args,
    plan_models,
    require_readable,
    with_problems,
)
from trainer.contract import ALL_MODELS, Engine, read_catalogue
from trainer.contract.spec import DEFAULT_WORKERS, MAX_WORKERS

DOC = """
### f1_training

Retrains the models of the catalogue side by side; one that fails stops no other. A run for `all` trains those whose
schedule is `weekly`; one that is trained `on_demand` is trained when it is named. A new run always retrains; a run that
failed goes on when its failed tasks are cleared, at the last committed boosting round.

**It is up for retry.** What another try may mend is tried again by itself, at most 3 times, after 60, 120 and 240
seconds: with one worker fewer after `WorkersLost`, on the next machine type after `OutOfMemory` (once). The task's log
says what was decided and why; training goes on at the last committed round.

**It failed. What now?** Open the failed task's log: its last lines say the reason, the evidence, the decision and what
to do.

| The reason is | Do |
|---|---|
| `DataInvalid` | mend the tables: the log and `checks.json` name every failed check; then open the gate, see below |
| `ConfigInvalid`, `PermissionDenied` | correct what the message names, then clear the failed task |
| `WorkersLost`, `ChiefLost`, `Preempted` | clear the failed task: it resumes at the last committed round |
| `NetworkPartition`, `NetworkTimeout` | the same, once the network or the service is back |
| `ResourceExhausted`, `StorageFull` | make room (quota, node pool, disk), then clear the failed task |
| `OutOfMemory` | raise `[resources] memory` in the model's catalogue file or take more workers in a new run |
| `Bug` | keep the log, tell the owners |

**`catalogue` failed.** A model's file cannot be read, and the log names file, field and reason. The other models are
trained; correct the file, deploy, and start a run that names the model.

**It would cost too much.** `plan` refuses a run that takes the month above `costs.hard_limit_usd`, with the sums. Run
it again with *Above the cost limit*, or raise the limit. `f1_training_costs` reports what the month has spent.

**The gate is closed.** Data that failed its checks closed it, for every model that reads the table. Approve in
*Required actions*, or run `f1_training_gate` with action `open`: the data is checked again; if it passes, runs go on.

**It stays scheduled.** The pool `f1_training` is full (its slots are how many jobs may run at once), or not there:
`airflow pools set f1_training 4 "jobs in Kubernetes" --include-deferred`.

**Is it still running?** `kubectl -n f1-training get jobs -l app.kubernetes.io/name=f1-training`. Marking a task failed
deletes its job. Nothing else needs cleaning up. The champion stays what it was until `register` succeeds.

**Vertex AI is off unless the settings ask for it**; until then `upload_to_vertex` and `deploy_to_vertex` are skipped.
With `vertex.region` every version is uploaded to the Model Registry there, after its registration, which is done
whatever Vertex AI says; the alias `champion` follows the registry's. With `vertex.endpoints` a new champion is also
deployed, and gets `vertex.traffic_percent` of the requests: machines that cost money as long as they are deployed.
Failed? Clear the task that failed: what is uploaded or deployed already is found by its label, not made again.

**Settings** are in the Airflow Variable `f1_training`, credentials in the connections that it names.
"""


def params() -> dict[str, Param]:
    """The trigger form."""
    catalogue = read_catalogue()
    # A model whose file cannot be read is offered, too: its run is refused with the reason.
    models = [ALL_MODELS, *catalogue.names]
    unreadable = {name: f"{name} (its file cannot be read)" for name in catalogue.problems}
    engines = [engine.value for engine in Engine]
    return {
        "model_type": Param(
            ALL_MODELS,
            type="string",
            enum=models,
            values_display=unreadable,
            title="Model",
            description="A model of the catalogue, or all that are trained weekly.",
        ),
        "data_split": Param(
            None,
            type=["null", "string"],
            title="Training rows",
            description="Table of f1_strategy to train on: train, or train_... Empty: the catalogue's.",
        ),
        "test_split": Param(
            None,
            type=["null", "string"],
            title="Test rows",
            description="Table of f1_strategy to score on: test, or test_... Empty: the catalogue's.",
        ),
        "engine": Param(
            None,
            type=["null", "string"],
            enum=[None, *engines],
            title="Engine",
            description="Boosting library. Empty: the catalogue's.",
        ),
        "num_workers": Param(
            DEFAULT_WORKERS,
            type="integer",
            minimum=1,
            maximum=MAX_WORKERS,
            title="Workers",
            description="How many pods train. One trains without any network.",
        ),
        "device": Param(
            "cpu", type="string", enum=["cpu", "gpu"], title="Device", description="Where trees are grown."
        ),
        "rounds": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=100_000,
            title="Boosting rounds",
            description="At most this many. Empty: the catalogue's.",
        ),
        "early_stopping_rounds": Param(
            None,
            type=["null", "integer"],
            minimum=0,
            maximum=100_000,
            title="Early stopping after",
            description="Rounds without a better validation metric; 0 trains all rounds. Empty: the catalogue's.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="At most 20 rounds on 2 workers, evaluated, never registered: shows that everything works.",
        ),
        "force_cost": Param(
            False,
            type="boolean",
            title="Above the cost limit",
            description="Train although the month is, or comes, above costs.hard_limit_usd.",
        ),
    }


with DAG(
    dag_id="f1_training",
    description="Retrain Formula 1 strategy models, distributed and fault tolerant",
    # New tables, and every week at the latest: also code and parameters change.
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("@weekly", timezone="UTC"), assets=list(ASSETS)),
    # No start date: once unpaused, it waits for the next time instead of making up for the last one.
    catchup=False,
    max_active_runs=4,
    is_paused_upon_creation=True,
    params=params(),
    default_args=default_args(),
    tags=["f1", "training"],
    doc_md=with_problems(DOC, read_catalogue()),
) as dag:
    # Nothing follows it, and it follows nothing: it fails the run, and stops no model.
    @task(task_id="catalogue", doc_md="Fails a run for all models when the file of one cannot be read, and names it.")
    def catalogue() -> None:
        """Whether every file of the catalogue can be read."""
        require_readable(get_current_context())

    @task(task_id="plan", doc_md="Params, settings and catalogue become one plan a model. Refuses what cannot be.")
    def plan() -> list[dict[str, Any]]:
        """The plans of this run, one a model."""
        context = get_current_context()
        plans = plan_models(context)
        check_cost(context, plans)
        return plans

    @task_group(group_id="model")
    def model(plan: dict[str, Any]) -> None:
        """One model, from its gate to its server."""
        with TaskGroup("gate"):
            gate = GateOperator(task_id="gate", plan=plan)
        with TaskGroup("snapshot"):
            snapshot = SnapshotOperator(task_id="snapshot", plan=plan)
            snapshots = snapshot.output
        with TaskGroup("validate"):
            validated = DataChecksOperator(task_id="validate", plan=plan, snapshots=snapshots)
            ask = AskToOpenOperator(task_id="ask_to_open", plan=plan, trigger_rule="one_failed")
        with TaskGroup("train"):
            train = DaskTrainingOperator(task_id="train", plan=plan, snapshots=snapshots, pool=POOL)
        with TaskGroup("evaluate"):
            evaluate = EvaluationOperator(
                task_id="evaluate", plan=plan, snapshots=snapshots, trained=train.output, pool=POOL
            )
        with TaskGroup("register"):
            register = RegisterModelOperator(
                task_id="register", plan=plan, snapshots=snapshots, trained=train.output, evaluated=evaluate.output
            )
            upload = UploadToVertexOperator(task_id="upload_to_vertex", plan=plan, registered=register.output)
        with TaskGroup("serve"):
            ServeOperator(task_id="serve", plan=plan, registered=register.output)
            deploy = DeployToVertexOperator(task_id="deploy_to_vertex", plan=plan, registered=register.output)
        upload >> deploy
        gate >> snapshot
        validated >> [train, ask]
        evaluate >> register

    catalogue()
    model.expand(plan=plan())
