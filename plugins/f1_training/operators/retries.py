"""The retry policy of every task: what :mod:`f1_training.core.retry` decides, carried out by Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from f1_training.core.failures import reason_of
from f1_training.core.plan import RunPlan
from f1_training.core.retry import Decision, RetrySettings, decide
from trainer.contract import ContractError, FailureReason

try:
    from airflow.sdk import RetryDecision, RetryPolicy
except ImportError as e:  # pragma: no cover - tested in a process of its own
    message = "f1_training needs Airflow 3.3 or newer: this one has no retry policies (airflow.sdk.RetryPolicy)"
    raise ImportError(message) from e

#: Airflow consults no policy when a task's process is killed, and that uses up a try although the job goes on. So tries
#: are plenty, and the policy is what ends them.
TRIES_FOR_KILLED_PROCESSES = 20
#: After how long such a task adopts the job that it left running.
ADOPT_AFTER = timedelta(seconds=30)
KEY = "retries"


def _settings(context: Any) -> RetrySettings:
    """The deployment's, which every plan carries; the defaults for the task that makes the plans."""
    plan = getattr(context.get("task"), "plan", None) if context else None
    try:
        return RunPlan.from_xcom(plan).settings.retry if isinstance(plan, Mapping) else RetrySettings()
    except ContractError:
        return RetrySettings()  # a plan of another version: that is what the task failed of


class ReasonedRetryPolicy(RetryPolicy):
    """Retries what another try may mend, within its budget; fails everything else at once.

    An operator that has decided already, because it knows its attempts, hands its decision over with the exception.
    For every other task the reasons of its retries are kept in the task's state store.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002 - Airflow's own count, which a killed process uses up
        max_tries: int,  # noqa: ARG002
        context: Any = None,
    ) -> RetryDecision:
        """What Airflow does after ``exception``."""
        decision = getattr(exception, "decision", None) or self._decide(exception, context)
        if decision.retry:
            return RetryDecision.retry(timedelta(seconds=decision.delay_s), decision.text)
        return RetryDecision.fail(decision.text)

    def serialize(self) -> dict[str, Any]:
        """It has nothing to remember."""
        return {}

    def _decide(self, exception: BaseException, context: Any) -> Decision:
        store = context["task_state_store"] if context else None
        earlier = [FailureReason(value) for value in (store.get(KEY) if store else None) or ()]
        reason = reason_of(exception)
        decision = decide(reason, earlier, _settings(context))
        if store is not None:
            # What a person starts again after a final failure has its budget as new.
            store.set(KEY, [*(r.value for r in earlier), reason.value] if decision.retry else [])
        return decision
