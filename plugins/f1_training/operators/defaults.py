"""What every task of the DAGs has in common: how it is tried again, and who hears when it is not."""

from __future__ import annotations

from typing import Any

from f1_training.operators.alerting import tell_team
from f1_training.operators.metrics import count_failure, count_retry
from f1_training.operators.retries import ADOPT_AFTER, TRIES_FOR_KILLED_PROCESSES, ReasonedRetryPolicy


def default_args() -> dict[str, Any]:
    """For the argument of the same name of a DAG."""
    return {
        "owner": "race-strategy",
        "retries": TRIES_FOR_KILLED_PROCESSES,
        "retry_delay": ADOPT_AFTER,
        "retry_policy": ReasonedRetryPolicy(),
        "on_failure_callback": [tell_team, count_failure],
        "on_retry_callback": count_retry,
    }
