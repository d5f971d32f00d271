"""The first task of a run: Params, settings and catalogue become one plan a model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from f1_training import package_version
from f1_training.core.costs import Budget
from f1_training.core.failures import airflow_errors
from f1_training.core.plan import RunIdentity, RunPlan, plan_runs
from f1_training.core.settings import VARIABLE, Settings, read_settings
from trainer.contract import read_catalogue

log = logging.getLogger(__name__)


def deployed_settings() -> Settings:
    """The settings of this deployment.

    Raises:
        TrainingFailure: ``ConfigInvalid`` naming the setting that is wrong.
    """
    from airflow.sdk import Variable

    return read_settings(Variable.get(VARIABLE, default=None, deserialize_json=True))


def plan_models(context: Any, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The plans of this DAG run, one a model, as plain JSON values; ``params`` where they are not the run's own.

    What is wrong with other files of the catalogue is logged and stops nothing.

    Raises:
        AirflowFailException: ``ConfigInvalid`` naming the Param or the setting that is wrong.
    """
    run = context["dag_run"]
    budget = Budget.of_run(str(getattr(run, "run_type", "")))
    identity = RunIdentity(dag_id=run.dag_id, run_id=run.run_id, at=run.run_after, budget=budget)
    catalogue = read_catalogue()
    for problem in catalogue.problems.values():
        log.error("not trained: %s", problem)
    with airflow_errors():
        settings = deployed_settings()
        asked = dict(context["params"] if params is None else params)
        plans = plan_runs(asked, settings, identity, catalogue, package_version())
    for plan in plans:
        log.info("%s", told(plan))
    return [plan.to_xcom() for plan in plans]


def told(plan: RunPlan) -> str:
    """The plan in one line for the task's log."""
    entry = plan.entry
    machine = f" of {entry.resources.machine_type}" if entry.resources.machine_type else ""
    line = (
        f"{plan.model_type}: job {plan.job_id}, version {plan.model_version}, {entry.engine.value} on "
        f"{plan.device.value}, {entry.rounds} rounds, {plan.num_workers} workers{machine}, "
        f"rows of {plan.train_split!r}, {plan.validation_split!r} and {plan.test_split!r}"
    )
    return f"{line} (dry run)" if plan.dry_run else line
