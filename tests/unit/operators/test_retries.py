"""The retry policy as Airflow asks it: with the exception that a task failed of, and the task's state store."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import AirflowException

from f1_training.core.failures import AttemptFailure, airflow_errors
from f1_training.core.retry import Decision
from f1_training.operators.retries import KEY, ReasonedRetryPolicy
from tests.fakes.run_plan import StateStore, make_plan, settings
from trainer.contract import FailureReason, TrainingFailure

PLUGINS = Path(__file__).parents[3] / "plugins"


def raised(error: Exception) -> BaseException:
    with pytest.raises(AirflowException) as caught, airflow_errors():
        raise error
    return caught.value


class Task:
    """Of a deployment whose pauses are short."""

    def __init__(self) -> None:
        self.plan = make_plan(settings(retry={"first_delay_s": 1.0, "overall": 2})).to_xcom()


@pytest.fixture
def context() -> dict[str, Any]:
    return {"task_state_store": StateStore(), "task": Task()}


def ask(error: BaseException, context: Any) -> tuple[RetryAction, float | None]:
    decision = ReasonedRetryPolicy().evaluate(error, 1, 20, context)
    assert decision.reason
    return decision.action, decision.retry_delay.total_seconds() if decision.retry_delay is not None else None


def test_a_decision_that_was_made_is_carried_out(context: dict[str, Any]) -> None:
    decision = Decision(retry=True, why="because", delay_s=7)
    error = raised(AttemptFailure(FailureReason.WORKERS_LOST, "gone", decision))
    assert ask(error, context) == (RetryAction.RETRY, 7)
    assert context["task_state_store"].values == {}


def test_other_tasks_have_a_budget_in_their_store(context: dict[str, Any]) -> None:
    error = raised(TrainingFailure(FailureReason.NETWORK_TIMEOUT, "BigQuery does not answer"))
    assert ask(error, context) == (RetryAction.RETRY, 1)
    assert ask(error, context) == (RetryAction.RETRY, 2)
    assert context["task_state_store"].values[KEY] == ["NetworkTimeout"] * 2
    assert ask(error, context) == (RetryAction.FAIL, None)
    assert ask(error, context) == (RetryAction.RETRY, 1), "a person cleared the task"


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), TimeoutError("late")])
def test_a_connection_that_fails_is_a_network_timeout(context: dict[str, Any], error: Exception) -> None:
    assert ask(error, context)[0] is RetryAction.RETRY


def test_what_is_not_known_is_a_bug(context: dict[str, Any]) -> None:
    assert ask(ZeroDivisionError(), context) == (RetryAction.FAIL, None)


@pytest.mark.parametrize("context", [None, {"task_state_store": StateStore(), "task": object()}])
def test_without_a_plan_the_defaults_hold(context: Any) -> None:
    error = raised(TrainingFailure(FailureReason.NETWORK_TIMEOUT, "away"))
    assert ask(error, context) == (RetryAction.RETRY, 60)


def test_an_airflow_without_retry_policies_is_refused_clearly() -> None:
    # As Airflow 3.2 has it: operators, and no retry policies.
    program = (
        "import airflow.sdk as s; del s.__dict__['__getattr__']; s.BaseOperator = object; import f1_training.operators"
    )
    environment = {
        "PYTHONPATH": f"{PLUGINS}:{PLUGINS.parent}",
        "HOME": "/nonexistent",
        "AIRFLOW_HOME": "/nonexistent",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "f1_training needs Airflow 3.3 or newer" in done.stderr
