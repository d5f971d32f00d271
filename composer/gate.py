"""``make gate``: open, close or list the gates that training runs pass, by a run of the DAG ``f1_training_gate``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time

from composer.local.airflow_api import AirflowApi, AirflowApiError
from composer.local.processes import ProcessFailedError
from composer.local.stack import StackInUseError
from composer.on_airflow import airflow, follow, start
from f1_training.gate.gate import DAG_ID

ACTIONS = ("open", "close", "history")
RUN_S = 1800.0


def main() -> int:
    """Do it, and print the history."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--action", default="history")
    parser.add_argument("--model", default="all")
    parser.add_argument("--reason", default="")
    parser.add_argument("--force", default="")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if arguments.action not in ACTIONS:
        return _fail(f"ACTION is {arguments.action!r}; one of {', '.join(ACTIONS)}", os.EX_USAGE)
    if arguments.action != "history" and not arguments.reason.strip():
        return _fail("REASON is empty; say why, for who comes after: make gate ACTION=open REASON='...'", os.EX_USAGE)
    conf = {"model_type": arguments.model, "reason": arguments.reason, "force": bool(arguments.force)}
    try:
        with airflow(_say, (DAG_ID,)) as api:
            done = arguments.action == "history" or _run(api, {**conf, "action": arguments.action})
            if done and _run(api, {"model_type": arguments.model, "action": "history"}):
                return os.EX_OK
    except (AirflowApiError, ProcessFailedError, StackInUseError, TimeoutError) as e:
        return _fail(str(e), os.EX_UNAVAILABLE)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    return os.EX_SOFTWARE


def _run(api: AirflowApi, conf: dict[str, object]) -> bool:
    """One run; its failed task's log, or the history. Whether it succeeded."""
    run_id = f"make-gate-{conf['action']}-{time.time_ns()}"
    start(api, DAG_ID, run_id, conf, _say)
    tasks = follow(api, DAG_ID, run_id, _say, deadline_s=RUN_S)
    failed = [task for task in tasks if task["state"] == "failed"]
    for task in failed:
        print(
            f"error: {task['task_id']} failed; the end of its log:\n{api.task_log(DAG_ID, run_id, task)}",
            file=sys.stderr,
        )
    if not failed and conf["action"] == "history":
        print("\n".join(api.xcom(DAG_ID, run_id, "history") or ["no gate was ever closed"]))
    return not failed


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
