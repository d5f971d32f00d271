"""``python -m trainer.chief``: train one job. The exit code and the termination log say how it ended."""

from __future__ import annotations

from trainer import termination

if __name__ == "__main__":
    termination.remember()

import asyncio
import os
import sys
from collections.abc import Sequence

from trainer.chief.service import Chief
from trainer.chief.spec_source import read_spec
from trainer.contract import TrainingSpec
from trainer.ending import conclude, exit_within, failure_outcome
from trainer.environment import PodEnvironment, read_environment
from trainer.logs import EventLog, open_log
from trainer.metrics.export import exported
from trainer.optional import do_without


def main(argv: Sequence[str]) -> int:
    """Validate the spec before anything is started, then do the job. Returns the exit code."""
    log = open_log(os.environ.get("TRAINING_JOB_ID", ""), role="chief")
    pod = None
    try:
        pod = read_environment()
        spec = read_spec(argv, os.environ)
    except Exception as e:  # noqa: BLE001 - whatever it is, the pod ends with a reason
        outcome = failure_outcome(log.job_id, e, log)
        return conclude(outcome, log, pod.termination_log if pod else None)
    log.job_id = spec.job_id
    return asyncio.run(_live(spec, pod, log))


async def _live(spec: TrainingSpec, pod: PodEnvironment, log: EventLog) -> int:
    with exported(pod, "chief", log) as metrics:
        outcome = await Chief(spec=spec, pod=pod, log=log, metrics=metrics).run()
        code = conclude(outcome, log, pod.termination_log)
        exit_within(code)
    return code


if __name__ == "__main__":
    do_without()
    sys.exit(main(sys.argv[1:]))
