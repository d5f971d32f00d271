"""Open and close the gates that training runs pass: by hand, or by approval after data failed its checks."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Param, get_current_context, task, task_group

from f1_training.core.failures import airflow_errors
from f1_training.data.good import Records
from f1_training.gate.gate import Gate
from f1_training.operators import (
    ChangeGateOperator,
    DataChecksOperator,
    SnapshotOperator,
    default_args,
    models_asked,
    plan_models,
)
from f1_training.operators.gate import told
from f1_training.operators.planning import deployed_settings
from trainer.contract import ALL_MODELS, FailureReason, TrainingFailure, read_catalogue

DOC = """
### f1_training_gate

Data that fails its checks closes the gate of every model that reads it; no run of `f1_training` passes a closed one.

| Action | What happens |
|---|---|
| `open` | the data is checked again, as a run would; only if it passes, and what `f1_data` brought last has, it opens |
| `open`, with *Force* | it opens whatever the data is like |
| `close` | it closes, for a reason that you give |
| `ask` | waits for an approval (*Required actions*), then as `open`; a run that closes a gate starts this by itself |
| `history` | the log of `history` lists who opened and closed it, when, and why |

Events are kept in the models' bucket, below `_gate/`; they are created once and never changed.
"""
log = logging.getLogger(__name__)
NOBODY = "somebody who is not known"

with DAG(
    dag_id="f1_training_gate",
    description="Open or close the gates that training runs pass",
    schedule=None,
    start_date=datetime(2026, 1, 5, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=False,
    params={
        "action": Param(
            "open",
            type="string",
            enum=["open", "close", "ask", "history"],
            title="Action",
            description="What to do; see the documentation of this DAG.",
        ),
        "model_type": Param(
            ALL_MODELS,
            type="string",
            enum=[ALL_MODELS, *sorted(read_catalogue().entries)],
            title="Model",
            description="Whose gate: a model of the catalogue, or all.",
        ),
        "reason": Param("", type="string", title="Reason", description="Why, for who comes after."),
        "force": Param(False, type="boolean", title="Force", description="Open although the data fails its checks."),
    },
    default_args=default_args(),
    tags=["f1", "training"],
    doc_md=DOC,
) as dag:

    @task(task_id="request")
    def request() -> dict[str, Any]:
        """What is asked, by whom; refuses what is not complete."""
        context = get_current_context()
        params = context["params"]
        with airflow_errors():
            models = models_asked(params)
            if params["action"] in ("open", "close") and not params["reason"].strip():
                raise TrainingFailure(FailureReason.CONFIG_INVALID, "reason is empty; say why, for who comes after")
        who = getattr(context["dag_run"], "triggering_user_name", None) or NOBODY
        return {"models": models, "who": who, "reason": params["reason"].strip() or params["action"]}

    @task.branch(task_id="action")
    def action() -> str:
        """Which way to go."""
        params = get_current_context()["params"]
        ways = {"close": "close", "ask": "approve", "history": "history", "open": "plan"}
        return "open_by_force" if params["action"] == "open" and params["force"] else ways[params["action"]]

    @task(task_id="history")
    def history() -> list[str]:
        """Every change of the gates, the oldest first."""
        context = get_current_context()
        with airflow_errors():
            gate = Gate(deployed_settings().uris.models)
            events = [event for model in models_asked(context["params"]) for event in gate.history(model)]
        lines = [told(event) for event in sorted(events, key=lambda event: event.at)]
        for line in lines or ["no gate was ever closed"]:
            log.info("%s", line)
        return lines

    @task(task_id="plan", trigger_rule="none_failed_min_one_success")
    def plan() -> list[dict[str, Any]]:
        """What a run would train on; refuses while the newest data of ``f1_data`` has not passed."""
        context = get_current_context()
        with airflow_errors():
            Records(deployed_settings().uris.artifacts).require_passed()
        models = models_asked(context["params"])
        return [plan_models(context, {"model_type": model})[0] for model in models]

    @task(task_id="who", trigger_rule="none_failed")
    def who(asked: dict[str, Any], approved: dict[str, Any] | None) -> str:
        """Who approved, or else who started this run."""
        user = (approved or {}).get("responded_by_user") or {}
        return str(user.get("name") or asked["who"])

    @task_group(group_id="model")
    def model(plan: dict[str, Any]) -> None:
        """Check the data of one model as it is now, and open its gate if it passes."""
        snapshots = SnapshotOperator(task_id="snapshot", plan=plan).output
        DataChecksOperator(task_id="validate", plan=plan, snapshots=snapshots, closes_gate=False)

    asked = request()
    chosen = action()
    approve = ApprovalOperator(
        task_id="approve",
        subject="Open the gate of {{ params.model_type }}?",
        body="It was closed: {{ params.reason }}\n\nApproved, the data is checked again; the gate opens if it passes.",
    )
    planned = plan()
    checked = model.expand(plan=planned)
    opened = ChangeGateOperator(
        task_id="open",
        models=asked["models"],
        state="open",
        who=who(asked, approve.output),
        reason=asked["reason"],
    )
    by_force = ChangeGateOperator(
        task_id="open_by_force", models=asked["models"], state="open", who=asked["who"], reason=asked["reason"]
    )
    close = ChangeGateOperator(
        task_id="close", models=asked["models"], state="closed", who=asked["who"], reason=asked["reason"]
    )
    asked >> chosen >> [close, by_force, history(), approve, planned]
    approve >> planned
    checked >> opened
