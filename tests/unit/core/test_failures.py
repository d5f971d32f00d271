"""A reason decides what Airflow does, and is the first word of the message."""

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from f1_training.core.failures import ADVICE, AttemptFailure, airflow_errors, reason_of
from f1_training.core.retry import Decision
from trainer.contract import CatalogueError, ContractError, FailureReason, TrainingFailure

FINAL = {"DataInvalid", "PermissionDenied", "ConfigInvalid", "Bug"}


def test_every_reason_has_advice() -> None:
    assert set(ADVICE) == set(FailureReason)


@pytest.mark.parametrize("reason", FailureReason)
def test_the_reason_decides_and_comes_first(reason: FailureReason) -> None:
    with pytest.raises(AirflowException, match=f"^{reason.value}: the message$") as caught, airflow_errors():
        raise TrainingFailure(reason, "the message")
    assert isinstance(caught.value, AirflowFailException) is (reason.value in FINAL)
    assert reason_of(caught.value) is reason


@pytest.mark.parametrize("retry", [True, False])
def test_what_was_decided_goes_before_the_table(retry: bool) -> None:
    decision = Decision(retry=retry, why="because")
    with pytest.raises(AirflowException) as caught, airflow_errors():
        raise AttemptFailure(FailureReason.WORKERS_LOST, "gone", decision)
    assert isinstance(caught.value, AirflowFailException) is not retry
    assert caught.value.decision is decision  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [ContractError("rounds", "is 0"), CatalogueError("unknown model")])
def test_wrong_documents_are_wrong_configuration(error: Exception) -> None:
    with pytest.raises(AirflowFailException, match="^ConfigInvalid: "), airflow_errors():
        raise error


def test_what_is_not_known_stays_what_it_is() -> None:
    with pytest.raises(ZeroDivisionError), airflow_errors():
        raise ZeroDivisionError
