"""``make preflight``: run the DAG ``f1_preflight`` and print what it found.

On the Airflow of ``AIRFLOW_URL`` and ``AIRFLOW_TOKEN`` (for Cloud Composer the environment's web server, and ``gcloud
auth print-access-token``), else on the one that ``make up`` started, else on one that lives as long as the run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from composer.local import laps
from composer.local.airflow_api import AirflowApi, AirflowApiError
from composer.local.places import Places
from composer.local.processes import ProcessFailedError
from composer.local.stack import StackInfo, StackInUseError, new_stack, running_stack
from f1_training.core.settings import POOL
from f1_training.preflight.report import Finding, Verdict, failed, table, tried
from trainer.contract import FailureReason, TrainingFailure
from trainer.contract.fields import decode

DAG_ID = "f1_preflight"
TRAINING = "f1_training"
RUN_S = 3600.0
FOUND_S = 90.0
NEXT = 'airflow pools set f1_training 4 "jobs in Kubernetes" --include-deferred'


class PreflightError(Exception):
    """There is no report: the message says why."""


def run(
    api: AirflowApi, conf: Mapping[str, Any], *, say: Callable[[str], None], deadline_s: float = RUN_S
) -> list[Finding]:
    """Everything that was found, by the DAG and about the Airflow that it runs on.

    Raises:
        PreflightError: the DAG is not there, or came to no report.
        TimeoutError: it did not end in time.
    """
    pool = tried("pool", NEXT, lambda: _pool(api))
    if pool.verdict is Verdict.FAIL:
        return [pool]  # its probes would wait for ever
    run_id = f"preflight-{time.strftime('%Y%m%dT%H%M%S')}"
    api.call("POST", f"/dags/{DAG_ID}/dagRuns", {"logical_date": None, "dag_run_id": run_id, "conf": dict(conf)})
    say(f"run {run_id}: {api.url}/dags/{DAG_ID}/runs/{run_id}")
    return [pool, *_findings(api, run_id, _ended(api, run_id, say, deadline_s))]


def _pool(api: AirflowApi) -> str:
    try:
        found = api.call("GET", f"/pools/{POOL}")
    except AirflowApiError as e:
        if e.status != 404:
            raise
        raise TrainingFailure(FailureReason.CONFIG_INVALID, f"Airflow has no pool {POOL!r}") from e
    if not found["include_deferred"]:
        raise TrainingFailure(FailureReason.CONFIG_INVALID, f"the pool {POOL!r} does not count deferred tasks")
    return f"{POOL}: {found['slots']} jobs at once"


def _ended(api: AirflowApi, run_id: str, say: Callable[[str], None], deadline_s: float) -> list[dict[str, Any]]:
    end, seen = time.monotonic() + deadline_s, dict[str, str | None]()
    while True:
        state = (api.dag_run(DAG_ID, run_id) or {}).get("state")
        tasks = api.task_instances(DAG_ID, run_id)
        for task in sorted(tasks, key=lambda t: t["start_date"] or ""):
            if task["state"] and seen.get(task["task_id"]) != task["state"]:
                seen[task["task_id"]] = task["state"]
                say(f"{task['task_id']}: {task['state']}")
        if state in ("success", "failed"):
            return tasks
        if time.monotonic() > end:
            raise TimeoutError(f"run {run_id} of {DAG_ID} did not end within {deadline_s:.0f} s")
        time.sleep(0.5)


def _findings(api: AirflowApi, run_id: str, tasks: Sequence[Mapping[str, Any]]) -> list[Finding]:
    with contextlib.suppress(AirflowApiError):
        found = api.xcom(DAG_ID, run_id, "report", key="findings")
        return [decode(Finding, value, "findings") for value in found]
    broken = next((t for t in tasks if t["state"] == "failed"), None)
    log = api.task_log(DAG_ID, run_id, broken) if broken else "no task failed; was the run ended by hand?"
    raise PreflightError(f"run {run_id} came to no report; the end of its log:\n{log}")


@contextlib.contextmanager
def airflow(say: Callable[[str], None]) -> Iterator[AirflowApi]:
    """The Airflow to ask; one that is started for it ends with it.

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
        yield _ready(info.api(places), info)
        return
    say("starting Airflow and the stand-ins of BigQuery and Kubernetes")
    with new_stack(places) as stack:
        info = stack.start_stand_ins()
        stack.start_airflow()
        yield _ready(stack.wait_for_airflow(), info)


def _ready(api: AirflowApi, info: StackInfo) -> AirflowApi:
    """Rows to train on, and DAGs that are found and not paused."""
    laps.ensure_laps(laps.emulator_client(info.bigquery))
    end = time.monotonic() + FOUND_S
    for dag_id in (DAG_ID, TRAINING):
        while True:
            with contextlib.suppress(AirflowApiError):
                api.call("PATCH", f"/dags/{dag_id}?update_mask=is_paused", {"is_paused": False})
                break
            if time.monotonic() > end:
                raise TimeoutError(f"Airflow did not find the DAG {dag_id} within {FOUND_S:.0f} s")
            time.sleep(0.3)
    return api


def main() -> int:
    """Print the table; the exit code says whether all passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="")
    parser.add_argument("--engine", default="")
    parser.add_argument("--device", default="")
    arguments = parser.parse_args()
    asked = {"model_type": arguments.model, "engine": arguments.engine, "device": arguments.device}
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def say(line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)

    try:
        with airflow(say) as api:
            findings = run(api, {name: value for name, value in asked.items() if value}, say=say)
    except (AirflowApiError, PreflightError, ProcessFailedError, StackInUseError, TimeoutError) as e:
        print(f"error: {e}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    print(table(findings))
    wrong = failed(findings)
    print(f"{len(wrong)} of {len(findings)} checks failed" if wrong else "ready to train")
    return os.EX_CONFIG if wrong else os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
