"""Jobs that no DAG run will ask for any more, and jobs that wait: from the Jobs as the API gives them. Pure.

A job outlives its run where the run, or Airflow's metadata, was deleted while it trained, or where Airflow could not
reach the cluster when the task was killed. Its deadline would end it after a day; a day of ten nodes costs money.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from f1_training.kubernetes.names import COMPONENT, DAG_ID, RUN_ID
from f1_training.kubernetes.podspec import MAIN_ROLES

#: A Job is submitted before its run is known everywhere; nothing younger is looked at.
YOUNGEST = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobOfRun:
    """A main Job and the DAG run that started it."""

    job: str
    dag_id: str
    run_id: str


def jobs_of_runs(jobs: Iterable[Mapping[str, Any]], now: datetime) -> list[JobOfRun]:
    """The main Jobs among ``jobs`` that are old enough, not being deleted, and say which run started them."""
    found = []
    for job in jobs:
        metadata = job["metadata"]
        notes, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
        if metadata.get("deletionTimestamp") or labels.get(COMPONENT) not in MAIN_ROLES:
            continue
        created = datetime.fromisoformat(str(metadata["creationTimestamp"]).replace("Z", "+00:00"))
        if DAG_ID in notes and RUN_ID in notes and now.astimezone(UTC) - created >= YOUNGEST:
            found.append(JobOfRun(job=metadata["name"], dag_id=notes[DAG_ID], run_id=notes[RUN_ID]))
    return found


def queued(jobs: Iterable[Mapping[str, Any]]) -> int:
    """How many main Jobs among ``jobs`` wait: suspended, or without a pod that is ready, and not over."""
    return sum(_waits(job) for job in jobs if (job["metadata"].get("labels") or {}).get(COMPONENT) in MAIN_ROLES)


def _waits(job: Mapping[str, Any]) -> bool:
    status = job.get("status") or {}
    over = {c["type"] for c in status.get("conditions") or () if c["status"] == "True"} & {"Complete", "Failed"}
    return not over and not status.get("ready") and not job["metadata"].get("deletionTimestamp")
