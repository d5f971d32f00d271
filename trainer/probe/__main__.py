"""``python -m trainer.probe``: try what training needs from inside a pod, and say what was found.

The :class:`trainer.contract.probe.ProbeSpec` is in environment ``PROBE_SPEC``. The exit code and the termination log
say how it ended; the outcome's message is what was found.
"""

from __future__ import annotations

from trainer import termination

if __name__ == "__main__":
    termination.remember()

import os
import sys

from trainer.contract import Outcome
from trainer.contract.probe import ProbeSpec
from trainer.ending import conclude, exit_within, failure_outcome
from trainer.environment import config_error, read_environment
from trainer.logs import open_log
from trainer.optional import do_without
from trainer.probe.probe import probe


def main() -> int:
    """Do one probe. Returns the exit code."""
    log = open_log(os.environ.get("TRAINING_JOB_ID", ""), role="probe")
    termination_log = None
    try:
        termination_log = read_environment().termination_log
        termination.stop_if_told()
        if not os.environ.get("PROBE_SPEC"):
            raise config_error("PROBE_SPEC does not say what to try")
        spec = ProbeSpec.from_json(os.environ["PROBE_SPEC"])
        log.job_id = spec.job_id
        found = []
        for line in probe(spec):
            log.info("probed", line)
            found.append(line)
        outcome = Outcome(job_id=spec.job_id, message="; ".join(found))
    except Exception as e:  # noqa: BLE001 - whatever it is, the pod ends with a reason
        outcome = failure_outcome(log.job_id, e, log)
    code = conclude(outcome, log, termination_log)
    exit_within(code)
    return code


if __name__ == "__main__":
    do_without()
    termination.end_as_preempted()
    sys.exit(main())
