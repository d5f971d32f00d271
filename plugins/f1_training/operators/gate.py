"""The gate's tasks: every run stops at a closed one, failed checks close it, a person opens it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from f1_training.core.failures import airflow_errors
from f1_training.core.plan import RunPlan
from f1_training.gate.gate import DAG_ID, Change, Gate, GateState
from f1_training.operators.planning import deployed_settings
from trainer.contract import ALL_MODELS, FailureReason, TrainingFailure, read_catalogue
from trainer.contract.fields import encode

if TYPE_CHECKING:
    from f1_training.gate.gate import GateEvent

log = logging.getLogger(__name__)

#: The gates as Airflow shows them: the state of this Asset has a line a model. A mirror, which nothing of ours reads.
GATES = Asset("f1_training.gates")


class GateOperator(BaseOperator):
    """Fails, without a retry, when the gate of the plan's model is closed, or cannot be read.

    Args:
        plan: the run's plan, from task ``plan``.
    """

    template_fields: Sequence[str] = ("plan",)
    ui_color = "#f5e6c8"

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def execute(self, context: Any) -> None:  # noqa: ARG002 - Airflow's signature
        """Look once."""
        with airflow_errors():
            plan = RunPlan.from_xcom(self.plan)
            Gate(plan.settings.uris.models).require_open(plan.model_type)
        self.log.info("the gate of %s is open", plan.model_type)


class ChangeGateOperator(BaseOperator):
    """Opens or closes the gates of ``models``; what is so already stays as it is.

    Args:
        models: names of the catalogue, or from an XCom.
        state: what they are to be.
        who: the person who wants it.
        reason: why, for the history.

    Returns the newest event of each.
    """

    template_fields: Sequence[str] = ("models", "who", "reason")

    def __init__(self, *, models: Any, state: str, who: Any, reason: Any, **kwargs: Any) -> None:
        super().__init__(inlets=[GATES], **kwargs)
        self.models = models
        self.state = GateState(state)
        self.who = who
        self.reason = reason

    def execute(self, context: Any) -> list[dict[str, Any]]:
        """Change them, one after the other."""
        with airflow_errors():
            gate = Gate(deployed_settings().uris.models)
            change = Change(who=self.who, reason=self.reason, run_id=context["dag_run"].run_id)
            act = gate.open if self.state is GateState.OPEN else gate.close
            events = [act(model, change) for model in self.models]
        for event in events:
            self.log.info("%s", told(event))
            mirror(context, event)
        return [encode(event) for event in events]


class AskToOpenOperator(TriggerDagRunOperator):
    """Starts a run of ``f1_training_gate`` that waits for somebody's approval, when this run has closed a gate.

    Args:
        plan: the run's plan, from task ``plan``: its model's gate; without one, the gates of all models.
    """

    template_fields: Sequence[str] = (*TriggerDagRunOperator.template_fields, "plan")

    def __init__(self, *, plan: Any = None, **kwargs: Any) -> None:
        super().__init__(trigger_dag_id=DAG_ID, logical_date=None, skip_when_already_exists=True, **kwargs)
        self.plan = plan

    def execute(self, context: Any) -> Any:
        """Ask once a run, whatever is cleared."""
        with airflow_errors():
            plan = RunPlan.from_xcom(self.plan) if self.plan else None
            run_id = plan.run_id if plan else context["dag_run"].run_id
            models = [plan.model_type] if plan else sorted(read_catalogue().entries)
            gate = Gate((plan.settings if plan else deployed_settings()).uris.models)
            events = {model: gate.newest(model) for model in models}
        closed = {m: e for m, e in events.items() if e and e.state is GateState.CLOSED and e.run_id == run_id}
        if not closed:
            raise AirflowSkipException("this run has not closed a gate")
        model = next(iter(closed)) if len(closed) == 1 else ALL_MODELS
        self.trigger_run_id = f"closed__{model}__{run_id}"
        self.conf = {"action": "ask", "model_type": model, "reason": next(iter(closed.values())).reason}
        super().execute(context)


def models_asked(params: Mapping[str, Any]) -> list[str]:
    """The models that ``model_type`` of the gate's form names.

    Raises:
        TrainingFailure: ``ConfigInvalid`` for one that the catalogue does not have.
    """
    known = sorted(read_catalogue().entries)
    asked = params["model_type"]
    if asked == ALL_MODELS:
        return known
    if asked not in known:
        message = f"model_type {asked!r} is not in the catalogue; it has: {', '.join(known)}"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    return [asked]


def mirror(context: Any, event: GateEvent) -> None:
    """Show a gate's newest event in Airflow's UI; what counts is in the bucket, so a failure is only logged."""
    try:
        context["asset_state_store"][GATES].set(event.model_type, told(event))
    except Exception as e:  # noqa: BLE001 - whatever it is, the gate has changed already
        log.warning("the state of Asset %s does not show it: %s", GATES.name, e)


def told(event: GateEvent) -> str:
    """One line for people."""
    report = f" (report: {event.report_uri})" if event.report_uri else ""
    return f"{event.at}  {event.model_type} {event.state.value} by {event.who}: {event.reason}{report}"
