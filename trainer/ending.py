"""How a pod ends: its :class:`Outcome` in the log and the termination log, and an exit code that says the same."""

from __future__ import annotations

import os
import threading
import traceback
from pathlib import Path

from trainer.contract import ContractError, FailureReason, Outcome, TrainingFailure
from trainer.logs import EventLog

#: Threads that still upload or talk to a dead peer are given this long before the process ends without them.
LINGER_S = 10.0


def failure_outcome(job_id: str, error: BaseException, log: EventLog) -> Outcome:
    """The outcome of a job that ``error`` ended. What is not expected is a bug, and its traceback goes into the log."""
    if isinstance(error, TrainingFailure):
        return Outcome(job_id=job_id, reason=error.reason, message=str(error))
    if isinstance(error, ContractError):
        return Outcome(job_id=job_id, reason=FailureReason.CONFIG_INVALID, message=str(error))
    trace = "".join(traceback.format_exception(error))
    log.error("bug", trace)
    return Outcome(job_id=job_id, reason=FailureReason.BUG, message=f"{type(error).__name__}: {error}")


def conclude(outcome: Outcome, log: EventLog, termination_log: Path | None) -> int:
    """Say how the pod ended, and return its exit code. Never raises: there is nobody left to tell."""
    write = log.info if outcome.succeeded else log.error
    reason = outcome.reason.value if outcome.reason else "succeeded"
    text = f"{reason}: {outcome.message}" if outcome.message else reason
    write("outcome", text, reason=reason, last_round=outcome.last_round, exit_code=outcome.exit_code)
    if termination_log is not None:
        try:
            termination_log.write_text(outcome.termination_message(), encoding="utf-8")
        except (OSError, ContractError) as e:
            log.warning("outcome", f"{termination_log}: the outcome could not be written ({e})")
    return outcome.exit_code


def exit_within(code: int, linger_s: float = LINGER_S) -> None:
    """End the process with ``code`` even if a thread refuses to, ``linger_s`` seconds from now."""
    timer = threading.Timer(linger_s, os._exit, args=(code,))
    timer.daemon = True
    timer.start()
