"""Pods for tests of the Airflow side: they do at once what a spec's ``rounds`` says, without training anything."""

import json
import os
import sys
import time
from pathlib import Path

SUCCEED, WAIT, FAIL, DIE = 1, 2, 3, 4


def say(event: str, message: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"severity": "INFO", "event": event, "message": message, **fields}) + "\n")
    sys.stdout.flush()


def outcome(**fields: object) -> str:
    empty = {"reason": None, "message": "", "last_round": 0, "manifest_uri": "", "result_uri": ""}
    body = {"kind": "outcome", "version": 1, "job_id": os.environ["TRAINING_JOB_ID"], **empty, **fields}
    return json.dumps(body)


def end(code: int, **fields: object) -> None:
    Path(os.environ["TRAINING_TERMINATION_LOG"]).write_text(outcome(**fields))
    raise SystemExit(code)


def chief() -> None:
    spec = json.loads(os.environ["TRAINING_SPEC"])
    say("boundary", "", round=1, of=2, metric="mae", value=561.2, rows_per_s=410_000, eta_s=42)
    for name in ("ca.crt", "tls.crt", "tls.key") if spec["num_workers"] > 1 else ():
        say("tls", f"{name} has {Path(os.environ['TRAINING_TLS_DIR'], name).stat().st_size > 100}")
    say("resume", f"resume is {spec['resume']}")
    if spec["rounds"] == WAIT:
        time.sleep(600)
    if spec["rounds"] == FAIL:
        end(69, reason="WorkersLost", message="1 of 2 workers is gone", last_round=300)
    if spec["rounds"] == DIE:
        os.kill(os.getpid(), 9)
    end(0, last_round=1, result_uri=f"{spec['output']['artifacts']}/result.json")


def worker() -> None:
    say("worker", f"worker {os.environ['WORKER_INDEX']} of {os.environ['TOTAL_WORKERS']}")
    time.sleep(600)
