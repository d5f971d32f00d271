"""Delete jobs that no DAG run will ask for any more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from f1_training.core.failures import airflow_errors
from f1_training.operators.metrics import report_queued
from f1_training.operators.planning import deployed_settings

if TYPE_CHECKING:
    from f1_training.core.settings import Settings
    from f1_training.kubernetes.client import Cluster
    from f1_training.kubernetes.reaping import JobOfRun

#: States of a DAG run that may still ask for its jobs. A run that is cleared is queued again.
LIVE = ["queued", "running"]


class ReaperOperator(BaseOperator):
    """Deletes the main Jobs, and all they own, whose DAG run is over or not there any more.

    Returns the names of the Jobs that were deleted.
    """

    def execute(self, context: Any) -> list[str]:
        """Look once; a Job that cannot be deleted now is looked at again by the next run."""
        from f1_training.kubernetes.reaping import jobs_of_runs

        with airflow_errors():
            settings = deployed_settings()
            cluster = self.connect(settings)
            found = jobs_of_runs(cluster.jobs(settings.namespace), datetime.now(UTC))
            abandoned = [job for job in found if not _is_live(job, context["ti"])]
            for job in abandoned:
                self.log.warning("Job %s: run %s of %s is over or gone; deleting it", job.job, job.run_id, job.dag_id)
                cluster.delete(settings.namespace, job.job)
            report_queued(settings, cluster)
        self.log.info("%d jobs belong to runs, %d were abandoned", len(found), len(abandoned))
        return [job.job for job in abandoned]

    def connect(self, settings: Settings) -> Cluster:
        """The cluster that jobs run in."""
        from f1_training.kubernetes.client import Cluster

        return Cluster.connect(settings.kubernetes_conn_id)


def _is_live(job: JobOfRun, ti: Any) -> bool:
    return bool(ti.get_dr_count(dag_id=job.dag_id, run_ids=[job.run_id], states=LIVE))
