"""From a failed task's context to who is told what."""

from types import SimpleNamespace
from typing import Any

import pytest

from f1_training.core.failures import AttemptFailure, airflow_errors
from f1_training.core.retry import Decision, Team
from f1_training.operators.alerting import alert_of, tell_team
from tests.fakes.run_plan import make_plan
from trainer.contract import FailureReason, TrainingFailure


def raised(failure: TrainingFailure) -> Exception:
    with pytest.raises(Exception) as caught, airflow_errors():
        raise failure
    return caught.value


def context(error: Exception | None, **task: Any) -> dict[str, Any]:
    ti = SimpleNamespace(dag_id="f1_training", task_id="model.train.train", log_url="http://airflow/log")
    run = SimpleNamespace(run_id="r1")
    return {"ti": ti, "dag_run": run, "task": SimpleNamespace(**task), "exception": error}


def test_invalid_data_goes_to_the_data_team_with_its_report() -> None:
    error = raised(TrainingFailure(FailureReason.DATA_INVALID, "3 of 40 checks failed"))
    alert = alert_of(context(error, plan=make_plan().to_xcom(), report_uri="gs://a/checks.json"))
    assert (alert.team, alert.reason, alert.report_uri) == (Team.DATA, FailureReason.DATA_INVALID, "gs://a/checks.json")
    assert alert.title == "DataInvalid: train of tire_degradation failed in f1_training"
    assert "3 of 40 checks failed" in alert.text
    assert alert.log_url == "http://airflow/log"


@pytest.mark.parametrize(
    ("reason", "team"), [(FailureReason.CHIEF_LOST, Team.ON_CALL), (FailureReason.OUT_OF_MEMORY, Team.ML)]
)
def test_a_budget_that_is_spent_goes_to_whom_the_decision_names(reason: FailureReason, team: Team) -> None:
    decision = Decision(retry=False, why="the retries are used up", tells=team)
    alert = alert_of(context(raised(AttemptFailure(reason, "gone", decision))))
    assert alert.team is team
    assert "decision: no retry: the retries are used up" in alert.text


def test_what_is_not_expected_is_a_bug_of_the_owners() -> None:
    alert = alert_of(context(ZeroDivisionError("oh")))
    assert (alert.team, alert.reason, alert.text) == (Team.NOBODY, FailureReason.BUG, "oh")
    assert alert_of(context(None)).reason is FailureReason.BUG


def test_telling_never_raises(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> Any:
        raise TrainingFailure(FailureReason.CONFIG_INVALID, "no Variable")

    monkeypatch.setattr("f1_training.operators.planning.deployed_settings", refuse)
    tell_team(context(ZeroDivisionError("oh")))
    assert "nobody could be told of this failure" in caplog.text
