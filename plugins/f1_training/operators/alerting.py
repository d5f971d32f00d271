"""Airflow's callback for a task that has failed for good: the team that the reason names is told."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from f1_training.core.failures import reason_of
from f1_training.core.retry import RULES, Team

if TYPE_CHECKING:
    from f1_training.alerts.alert import Alert

log = logging.getLogger(__name__)


def tell_team(context: Any) -> None:
    """Tell the team once; whatever goes wrong meanwhile is logged and hides nothing."""
    try:
        from airflow.sdk import Connection

        from f1_training.alerts.delivery import Delivery
        from f1_training.operators.planning import deployed_settings

        Delivery(settings=deployed_settings(), connection=Connection.get).tell(alert_of(context))
    except Exception:
        log.exception("nobody could be told of this failure")


def alert_of(context: Any) -> Alert:
    """The alert for the failed task of ``context``."""
    from f1_training.alerts.alert import Alert

    ti, task, error = context["ti"], context.get("task"), context.get("exception")
    reason = reason_of(error) if isinstance(error, BaseException) else reason_of(Exception())
    decision = getattr(error, "decision", None)
    model = getattr(task, "plan", None)
    model_type = model["entry"]["model_type"] if isinstance(model, dict) and "entry" in model else ""
    name = ti.task_id.rpartition(".")[2]
    text = str(error) if error else "the task failed"
    if decision is not None:
        text += f"\ndecision: {decision.text}"
    return Alert(
        team=decision.tells if decision is not None else _team(reason),
        reason=reason,
        title=f"{reason.value}: {name}{f' of {model_type}' if model_type else ''} failed in {ti.dag_id}",
        text=text,
        key=f"{reason.value}/{ti.dag_id}/{ti.task_id}/{model_type}",
        dag_id=ti.dag_id,
        run_id=context["dag_run"].run_id if context.get("dag_run") else getattr(ti, "run_id", ""),
        task_id=ti.task_id,
        log_url=str(getattr(ti, "log_url", "") or ""),
        report_uri=str(getattr(task, "report_uri", "") or ""),
    )


def _team(reason: Any) -> Team:
    return RULES[reason].tells
