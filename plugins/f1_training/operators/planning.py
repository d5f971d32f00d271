"""The first task of a run: Params, settings and catalogue become one plan a model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from f1_training import package_version
from f1_training.core.failures import airflow_errors
from f1_training.core.plan import RunIdentity, plan_runs
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

    Raises:
        AirflowFailException: ``ConfigInvalid`` naming the Param or the setting that is wrong.
    """
    run = context["dag_run"]
    identity = RunIdentity(dag_id=run.dag_id, run_id=run.run_id, at=run.run_after)
    with airflow_errors():
        settings = deployed_settings()
        plans = plan_runs(
            dict(context["params"] if params is None else params),
            settings,
            identity,
            read_catalogue(),
            package_version(),
        )
    for plan in plans:
        log.info(
            "%s: job %s, version %s, %s on %s, %s rounds, %s workers, rows of %r, %r and %r%s",
            plan.model_type,
            plan.job_id,
            plan.model_version,
            plan.entry.engine.value,
            plan.device.value,
            plan.entry.rounds,
            plan.num_workers,
            plan.train_split,
            plan.validation_split,
            plan.test_split,
            " (dry run)" if plan.dry_run else "",
        )
    return [plan.to_xcom() for plan in plans]
