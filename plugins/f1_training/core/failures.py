"""From a failure's reason to what Airflow does about it: one table, and the exceptions that carry it out.

Evidence becomes a reason where it is seen (``f1_training.kubernetes.status``, ``f1_training.bigquery.client``,
``f1_training.core.storage``) and travels as :class:`trainer.contract.TrainingFailure`; a reason becomes a disposition
here and nowhere else.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator, Mapping

from trainer.contract import CatalogueError, ContractError, FailureReason, TrainingFailure


class Disposition(enum.StrEnum):
    """What follows from a failure."""

    FAIL = "fail"
    RETRY = "retry"


#: What the same data, permissions, configuration and code will not change is never tried again.
DISPOSITIONS: Mapping[FailureReason, Disposition] = {
    FailureReason.WORKERS_LOST: Disposition.RETRY,
    FailureReason.CHIEF_LOST: Disposition.RETRY,
    FailureReason.NETWORK_PARTITION: Disposition.RETRY,
    FailureReason.OUT_OF_MEMORY: Disposition.RETRY,
    FailureReason.RESOURCE_EXHAUSTED: Disposition.RETRY,
    FailureReason.NETWORK_TIMEOUT: Disposition.RETRY,
    FailureReason.STORAGE_FULL: Disposition.RETRY,
    FailureReason.PREEMPTED: Disposition.RETRY,
    FailureReason.DATA_INVALID: Disposition.FAIL,
    FailureReason.PERMISSION_DENIED: Disposition.FAIL,
    FailureReason.CONFIG_INVALID: Disposition.FAIL,
    FailureReason.BUG: Disposition.FAIL,
}

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


def disposition(reason: FailureReason) -> Disposition:
    """What follows from ``reason``."""
    return DISPOSITIONS[reason]


def described(failure: TrainingFailure) -> str:
    """The failure in one line that starts with its reason, which is what people and alerts look for."""
    return f"{failure.reason.value}: {failure}"


@contextlib.contextmanager
def airflow_errors() -> Iterator[None]:
    """Let :class:`TrainingFailure` and wrong documents leave as what Airflow understands, the reason first.

    Raises:
        AirflowFailException: the disposition is ``FAIL``: no retry.
        AirflowException: it is ``RETRY``: retried within the task's ``retries``.
    """
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    try:
        yield
    except TrainingFailure as e:
        kind = AirflowFailException if disposition(e.reason) is Disposition.FAIL else AirflowException
        raise kind(described(e)) from e
    except (ContractError, CatalogueError) as e:
        raise AirflowFailException(f"{FailureReason.CONFIG_INVALID.value}: {e}") from e
