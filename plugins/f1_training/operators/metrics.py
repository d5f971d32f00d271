"""Airflow's callbacks that count: jobs that are over, and attempts that are followed by another."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from f1_training.core.failures import reason_of
from trainer.contract import ALL_MODELS, FailureReason

if TYPE_CHECKING:
    from f1_training.core.metrics import Reading
    from f1_training.core.plan import RunPlan
    from f1_training.core.settings import Settings
    from f1_training.kubernetes.client import Cluster

log = logging.getLogger(__name__)

#: Stages whose failure is the job's: without one of them there is no model.
STAGES = ("snapshot", "validate", "train")
SUCCEEDED, FAILED, NO_REASON = "succeeded", "failed", "none"


def count_failure(context: Any) -> None:
    """A task has failed for good: count the job that is over with it."""
    _count(context, failure_of)


def count_retry(context: Any) -> None:
    """A task has failed and is tried again: count it where it is an attempt at training."""
    _count(context, retry_of)


def count_success(plan: RunPlan) -> None:
    """A model is trained."""
    from f1_training.core.metrics import Reading, report

    labels = {"model_type": plan.model_type, "status": SUCCEEDED, "reason": NO_REASON}
    report(plan.settings, [Reading(name="training.job.finished", value=1, labels=labels)], plan.job_id)


def report_queued(settings: Settings, cluster: Cluster) -> None:
    """How many jobs wait: for a queue, for nodes, for their image. Nobody is asked where nobody would hear it."""
    if not settings.metrics.exporters:
        return
    from f1_training.core.metrics import Reading, report
    from f1_training.kubernetes.reaping import queued

    try:
        waiting = queued(cluster.jobs(settings.namespace))
    except Exception as e:  # noqa: BLE001 - a number for a chart stops no training
        log.warning("the jobs that wait could not be counted: %s", e)
        return
    report(settings, [Reading(name="training.jobs_queued", value=waiting)], settings.namespace)


def failure_of(context: Any) -> Reading | None:
    """The job that is over with the failed task of ``context``; None where it was over before."""
    from f1_training.core.metrics import Reading

    reason = _reason(context)
    if _stage(context) not in STAGES and reason is not FailureReason.DATA_INVALID:
        return None
    labels = {"model_type": _model_type(context), "status": FAILED, "reason": reason.value}
    return Reading(name="training.job.finished", value=1, labels=labels)


def retry_of(context: Any) -> Reading | None:
    """The retry after the failed attempt of ``context``; None for a task that trains nothing, or whose process died."""
    from f1_training.core.metrics import Reading

    error = context.get("exception")
    if _stage(context) != "train" or not isinstance(getattr(error, "reason", None), FailureReason):
        return None
    labels = {"model_type": _model_type(context), "failure_reason": _reason(context).value}
    return Reading(name="training.job.retry_count", value=1, labels=labels)


def _count(context: Any, reading_of: Any) -> None:
    try:
        from f1_training.core.metrics import report
        from f1_training.operators.planning import deployed_settings

        reading = reading_of(context)
        if reading is not None:
            report(deployed_settings(), [reading], _job(context))
    except Exception:
        log.exception("this failure could not be counted")


def _reason(context: Any) -> FailureReason:
    error = context.get("exception")
    return reason_of(error if isinstance(error, BaseException) else Exception())


def _stage(context: Any) -> str:
    """The task group that the task is in, such as ``train``; its own name where it is in none."""
    parts = context["ti"].task_id.split(".")
    return str(parts[-2] if len(parts) > 1 else parts[-1])


def _plan(context: Any) -> dict[str, Any]:
    plan = getattr(context.get("task"), "plan", None)
    return plan if isinstance(plan, dict) and "entry" in plan else {}


def _model_type(context: Any) -> str:
    plan = _plan(context)
    return str(plan["entry"]["model_type"]) if plan else ALL_MODELS


def _job(context: Any) -> str:
    return str(_plan(context).get("job_id") or context["ti"].dag_id)
