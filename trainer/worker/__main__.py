"""``python -m trainer.worker``: one worker of a job.

Exit code 0 when the chief says that the job is done, 69 when the chief is gone, 75 after SIGTERM.
"""

from __future__ import annotations

from trainer import termination

if __name__ == "__main__":
    termination.remember()

import asyncio
import os
import sys
from collections.abc import Sequence

from trainer.chief.spec_source import parser
from trainer.ending import conclude, exit_within, failure_outcome
from trainer.environment import read_environment
from trainer.logs import EventLog, open_log
from trainer.metrics.cloud import FLUSH_IN_OUTAGE_S
from trainer.metrics.export import exported
from trainer.worker.settings import WorkerSettings, read_settings

#: Read by Dask when it is imported, here and in the worker process below the nanny: what it says at INFO is no news.
DASK_LOG_LEVEL = {"DASK_LOGGING__DISTRIBUTED": "error"}


def main(argv: Sequence[str]) -> int:
    """Serve one job. The specification's flags are accepted; what they say, a worker learns from the chief."""
    log = open_log(os.environ.get("TRAINING_JOB_ID", ""), role="worker")
    os.environ.update({name: value for name, value in DASK_LOG_LEVEL.items() if name not in os.environ})
    termination_log = None
    try:
        termination_log = read_environment().termination_log
        parser("trainer.worker").parse_args(list(argv))
        settings = read_settings(os.environ)
    except Exception as e:  # noqa: BLE001 - whatever it is, the pod ends with a reason
        return conclude(failure_outcome(log.job_id, e, log), log, termination_log)
    return asyncio.run(_live(settings, log))


async def _live(settings: WorkerSettings, log: EventLog) -> int:
    from trainer.worker.service import WorkerService  # imports Dask, after its environment is set

    # A worker that was told to stop has used up most of its time, and its last points say little.
    with exported(settings.pod, f"worker-{settings.name}", log, flush_s=FLUSH_IN_OUTAGE_S) as metrics:
        outcome = await WorkerService(settings=settings, log=log, metrics=metrics).run()
        code = conclude(outcome, log, settings.pod.termination_log)
        exit_within(code)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
