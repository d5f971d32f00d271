"""The client of Airflow's REST API where SQLite is in use by somebody else."""

from typing import Any

import pytest

from composer.local import airflow_api
from composer.local.airflow_api import AirflowApi, AirflowApiError

LOCKED = AirflowApiError(500, "POST /dags/d/dagRuns: 500 {'reason': 'Database error'}")


def api(monkeypatch: pytest.MonkeyPatch, answers: list[Any]) -> AirflowApi:
    monkeypatch.setattr(airflow_api.time, "sleep", lambda _s: None)
    left = iter(answers)

    def request(_self: AirflowApi, _method: str, _path: str, _body: Any) -> Any:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(AirflowApi, "_request", request)
    return AirflowApi("http://none", token="t")


def test_a_locked_database_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert api(monkeypatch, [LOCKED, LOCKED, {"ok": 1}]).call("POST", "/x") == {"ok": 1}


def test_what_the_refused_request_has_made_is_no_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    conflict = AirflowApiError(409, "there is one")
    assert api(monkeypatch, [LOCKED, conflict]).call("POST", "/x") is None
    with pytest.raises(AirflowApiError, match="there is one"):
        api(monkeypatch, [conflict]).call("POST", "/x")


def test_it_is_asked_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AirflowApiError, match="Database error"):
        api(monkeypatch, [LOCKED] * airflow_api.LOCKED_TRIES).call("POST", "/x")


def test_other_errors_are_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AirflowApiError, match="broken"):
        api(monkeypatch, [AirflowApiError(500, "broken"), {"ok": 1}]).call("GET", "/x")


def test_a_failed_task_s_log_says_what_is_not_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "::group::Log",
        'passed  rows(train): 9  {"check": "rows"}',
        'skipped  drift(train.a): nothing to compare with  {"check": "drift"}',
        'FAILED  rows(test): 0, expected 1 rows or more  {"check": "rows"}',
        "Task failed with exception",
    ]
    content = [{"event": line} for line in lines]
    content[-1]["error_detail"] = [{"exc_type": "AirflowFailException", "exc_value": "DataInvalid: x"}]  # type: ignore[assignment]
    task = {"task_id": "model.validate.validate", "map_index": 0, "try_number": 1}
    assert api(monkeypatch, [{"content": content}]).task_log("d", "r", task).splitlines() == [
        "FAILED  rows(test): 0, expected 1 rows or more",
        "Task failed with exception",
        "AirflowFailException: DataInvalid: x",
    ]
