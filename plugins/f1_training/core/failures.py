"""From a failure's reason to the exception that tells Airflow, and to what a person can do.

Evidence becomes a reason where it is seen (``f1_training.kubernetes.status``, ``f1_training.bigquery.client``,
``f1_training.core.storage``) and travels as :class:`trainer.contract.TrainingFailure`; what follows from a reason is
decided in :mod:`f1_training.core.retry` and nowhere else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from f1_training.core.retry import RULES, Decision
from trainer.contract import CatalogueError, ContractError, FailureReason, TrainingFailure

#: What a person can do, for the end of a failed task's log.
ADVICE: Mapping[FailureReason, str] = {
    FailureReason.WORKERS_LOST: "workers went away and did not come back; look at the nodes they ran on",
    FailureReason.CHIEF_LOST: "the chief ended without a word; look at its node and at who deleted the Job",
    FailureReason.NETWORK_PARTITION: "chief and workers lost each other; look at the NetworkPolicy and the nodes",
    FailureReason.OUT_OF_MEMORY: "give the model more memory in the catalogue ([resources] memory), or more workers",
    FailureReason.RESOURCE_EXHAUSTED: "no node took the pods, or the image cannot be pulled; look at quota and image",
    FailureReason.NETWORK_TIMEOUT: "a service did not answer; try again later",
    FailureReason.STORAGE_FULL: "free space where checkpoints and artifacts go",
    FailureReason.PREEMPTED: "the pods were taken away; start the run again",
    FailureReason.DATA_INVALID: "the data is not what the model needs; mend the source tables, then start a new run",
    FailureReason.PERMISSION_DENIED: "grant what the message names; trying again changes nothing",
    FailureReason.CONFIG_INVALID: "correct what the message names, then start the run again",
    FailureReason.BUG: "this should not happen; keep the log and tell the owners of f1_training",
}


class AttemptFailure(TrainingFailure):
    """An attempt failed, and ``decision`` follows from it."""

    def __init__(self, reason: FailureReason, message: str, decision: Decision) -> None:
        super().__init__(reason, message)
        self.decision = decision


def reason_of(error: BaseException) -> FailureReason:
    """The reason that ``error`` carries; a connection that fails is ``NetworkTimeout``, everything else a ``Bug``."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, FailureReason):
        return reason
    return FailureReason.NETWORK_TIMEOUT if isinstance(error, (ConnectionError, TimeoutError)) else FailureReason.BUG


def described(failure: TrainingFailure) -> str:
    """The failure in one line that starts with its reason, which is what people and alerts look for."""
    return f"{failure.reason.value}: {failure}"


@contextlib.contextmanager
def airflow_errors() -> Iterator[None]:
    """Let :class:`TrainingFailure` and wrong documents leave as what Airflow understands, the reason first.

    Raises:
        AirflowFailException: trying again changes nothing.
        AirflowException: the task's retry policy decides, by the attributes ``reason`` and ``decision``.
    """
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    try:
        yield
    except TrainingFailure as e:
        decision = getattr(e, "decision", None)
        retried = RULES[e.reason].retried if decision is None else decision.retry
        raised = (AirflowException if retried else AirflowFailException)(described(e))
        raised.reason, raised.decision = e.reason, decision
        raise raised from e
    except (ContractError, CatalogueError) as e:
        raise AirflowFailException(f"{FailureReason.CONFIG_INVALID.value}: {e}") from e
