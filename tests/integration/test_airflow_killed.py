"""Airflow's own processes are killed while a job trains: the run turns green, and its job was started once."""

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from kubernetes import client, config, watch
from urllib3.exceptions import HTTPError

from composer.local.places import tool
from composer.local.processes import Supervisor
from composer.local.running import NAMESPACE, environment
from f1_training.core.plan import job_id
from tests import waiting
from tests.integration.stack_up import Up, succeeded, up

__all__ = ["up"]
pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900)]
RUN_ID, STEP_S = "airflow-killed", 150.0
eventually = functools.partial(waiting.eventually, within_s=STEP_S)


@contextlib.contextmanager
def jobs_created(up: Up) -> Iterator[list[str]]:
    """Names of all Jobs that were created since, in their order."""
    batch = client.BatchV1Api(config.new_client_from_config(up.info.kubeconfig))
    began = batch.list_namespaced_job(NAMESPACE).metadata.resource_version
    names: list[str] = []
    watching = watch.Watch()

    def listen() -> None:
        # It ends with the stack.
        with contextlib.suppress(HTTPError):
            _listen()

    def _listen() -> None:
        for event in watching.stream(batch.list_namespaced_job, NAMESPACE, resource_version=began):
            if event["type"] == "ADDED":
                names.append(event["object"].metadata.name)

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield names
    finally:
        watching.stop()


def processes(title: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if title in " ".join(process.cmdline()):
                found.append(process)
    return found


def kill_component(up: Up, name: str) -> None:
    ours = {process.pid for process in psutil.Process(up.info.pid).children()}
    (process,) = (p for p in processes(f"airflow {name}") if p.pid in ours)
    process.kill()


def train(up: Up) -> dict[str, Any]:
    tasks = up.api.task_instances("f1_training", RUN_ID)
    return next((t for t in tasks if t["task_id"] == "model.train.train"), {"state": None})


def test_task_scheduler_and_triggerer_are_killed_and_the_job_is_started_once(up: Up) -> None:
    api = up.api
    api.call("PATCH", "/dags/f1_training?update_mask=is_paused", {"is_paused": False})
    asked = {"model_type": "tire_degradation", "num_workers": 2, "rounds": 20_000, "early_stopping_rounds": 0}
    job = job_id("f1_training", RUN_ID, "tire_degradation")
    committed = up.places.root / "storage" / "checkpoints" / job
    with jobs_created(up) as created, Supervisor(up.places.logs) as again:
        settings = environment(up.places, up.info)
        api.call("POST", "/dags/f1_training/dagRuns", {"logical_date": None, "dag_run_id": RUN_ID, "conf": asked})
        eventually(lambda: list(committed.rglob("manifest.json")), "a round is committed")

        (runner,) = eventually(lambda: processes(f"airflow worker -- {train(up)['id']}"), "the task's process")
        runner.kill()
        eventually(lambda: train(up)["state"] == "up_for_retry", "Airflow notices")
        eventually(lambda: train(up)["state"] == "running", "the next try adopts the job")

        kill_component(up, "scheduler")
        again.start("scheduler-again", [tool("airflow"), "scheduler"], settings, up.places.root)
        eventually(lambda: train(up)["state"] == "deferred", "the job is handed to the triggerer")

        kill_component(up, "triggerer")
        again.start("triggerer-again", [tool("airflow"), "triggerer"], settings, up.places.root)
        succeeded(up, RUN_ID, within_s=600)
    result = api.xcom("f1_training", RUN_ID, "model.train.train", 0)
    assert (result["attempt"], result["resumed"], result["rounds"]) == (1, False, 20_000)
    assert [name for name in created if "eval" not in name] == [f"{job}-1-chief", f"{job}-1-work"]
