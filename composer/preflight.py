"""``make preflight``: run the DAG ``f1_preflight`` and print what it found; :mod:`composer.on_airflow` says where."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from composer.local.airflow_api import AirflowApi, AirflowApiError
from composer.local.processes import ProcessFailedError
from composer.local.stack import StackInUseError
from composer.on_airflow import airflow, follow, start
from f1_training.core.settings import POOL
from f1_training.preflight.report import Finding, Verdict, failed, table, tried
from trainer.contract import FailureReason, TrainingFailure
from trainer.contract.fields import decode

DAG_ID = "f1_preflight"
TRAINING = "f1_training"
RUN_S = 3600.0
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
    start(api, DAG_ID, run_id, conf, say)
    return [pool, *_findings(api, run_id, follow(api, DAG_ID, run_id, say, deadline_s=deadline_s))]


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


def _findings(api: AirflowApi, run_id: str, tasks: Sequence[Mapping[str, Any]]) -> list[Finding]:
    with contextlib.suppress(AirflowApiError):
        found = api.xcom(DAG_ID, run_id, "report", key="findings")
        return [decode(Finding, value, "findings") for value in found]
    broken = next((t for t in tasks if t["state"] == "failed"), None)
    log = api.task_log(DAG_ID, run_id, broken) if broken else "no task failed; was the run ended by hand?"
    raise PreflightError(f"run {run_id} came to no report; the end of its log:\n{log}")


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
        with airflow(say, (DAG_ID, TRAINING)) as api:
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
