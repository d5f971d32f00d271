"""Run a DAG by hand and follow it, from a command line.

On the Airflow of ``AIRFLOW_URL`` and ``AIRFLOW_TOKEN`` (for Cloud Composer the environment's web server, and ``gcloud
auth print-access-token``), else on the one that ``make up`` started, else on one that lives as long as the command.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from composer.local import laps
from composer.local.airflow_api import AirflowApi, AirflowApiError
from composer.local.places import Places
from composer.local.running import StackInfo, running_stack
from composer.local.stack import new_stack

FOUND_S = 90.0


def start(api: AirflowApi, dag_id: str, run_id: str, conf: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Start a run by hand."""
    api.call("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "dag_run_id": run_id, "conf": dict(conf)})
    say(f"run {run_id}: {api.url}/dags/{dag_id}/runs/{run_id}")


def follow(
    api: AirflowApi, dag_id: str, run_id: str, say: Callable[[str], None], *, deadline_s: float
) -> list[dict[str, Any]]:
    """Tell every change of a task's state until the run ends. Returns its task instances.

    Raises:
        TimeoutError: it did not end in time.
    """
    end, seen = time.monotonic() + deadline_s, dict[str, str | None]()
    while True:
        state = (api.dag_run(dag_id, run_id) or {}).get("state")
        tasks = api.task_instances(dag_id, run_id)
        for task in sorted(tasks, key=lambda t: t["start_date"] or ""):
            if task["state"] and seen.get(task["task_id"]) != task["state"]:
                seen[task["task_id"]] = task["state"]
                say(f"{task['task_id']}: {task['state']}")
        if state in ("success", "failed"):
            return tasks
        if time.monotonic() > end:
            raise TimeoutError(f"run {run_id} of {dag_id} did not end within {deadline_s:.0f} s")
        time.sleep(0.5)


@contextlib.contextmanager
def airflow(say: Callable[[str], None], dags: Sequence[str]) -> Iterator[AirflowApi]:
    """The Airflow to ask, with ``dags`` found and not paused on this machine; one that is started for it ends with it.

    Raises:
        StackInUseError: another process starts one in the same folder.
    """
    if os.environ.get("AIRFLOW_URL"):
        url = os.environ["AIRFLOW_URL"].rstrip("/")
        yield AirflowApi(url, token=os.environ.get("AIRFLOW_TOKEN", ""))
        return
    places = Places.default()
    if info := running_stack(places):
        say(f"using the stack that is up at {info.airflow}")
        yield _ready(info.api(places), info, dags)
        return
    say("starting Airflow and the stand-ins of BigQuery and Kubernetes")
    with new_stack(places) as stack:
        info = stack.start_stand_ins()
        stack.start_airflow()
        yield _ready(stack.wait_for_airflow(), info, dags)


def _ready(api: AirflowApi, info: StackInfo, dags: Sequence[str]) -> AirflowApi:
    """Rows to train on, and DAGs that are found and not paused."""
    laps.ensure_laps(laps.emulator_client(info.bigquery))
    end = time.monotonic() + FOUND_S
    for dag_id in dags:
        while True:
            with contextlib.suppress(AirflowApiError):
                api.call("PATCH", f"/dags/{dag_id}?update_mask=is_paused", {"is_paused": False})
                break
            if time.monotonic() > end:
                raise TimeoutError(f"Airflow did not find the DAG {dag_id} within {FOUND_S:.0f} s")
            time.sleep(0.3)
    return api
