"""`make runs`: one line an attempt, with what was decided, from what the tasks wrote down."""

from typing import Any

import pytest

from composer import runs
from composer.local.airflow_api import AirflowApi
from f1_training.core.retry import RetrySettings, Size, decide
from f1_training.operators.attempts import Attempts
from trainer.contract import FailureReason
from trainer.contract.resources import Resources

SIZE = Size(num_workers=4, resources=Resources(cpu="7", memory="24Gi", machine_type="n1-standard-8"))


class Store(dict[str, Any]):
    def set(self, key: str, value: Any) -> None:
        self[key] = value


def written() -> list[dict[str, Any]]:
    """Two attempts, as the operator writes them down."""
    store, times = Store(), iter(f"2026-11-24T03:0{i}:00Z" for i in range(9))
    attempts = Attempts(store, now=lambda: next(times))
    attempts.begin_next(SIZE)
    reason = FailureReason.OUT_OF_MEMORY
    attempts.failed(1, reason, decide(reason, [], RetrySettings(), SIZE))
    attempts.begin_next(SIZE)
    found: list[dict[str, Any]] = store["attempts"]
    return found


class Api(AirflowApi):
    def __init__(self) -> None:
        super().__init__("http://none")

    def dag_runs(self, dag_id: str, last: int) -> list[dict[str, Any]]:
        assert (dag_id, last) == ("f1_training", 5)
        return [{"dag_run_id": "manual__1"}]

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        times = {"start_date": "2026-11-24T03:00:00Z", "map_index": 0}
        return [{"task_id": "plan", **times, "map_index": -1}, {"task_id": "model.train.train", **times}]

    def attempts(self, dag_id: str, run_id: str, task: Any) -> list[dict[str, Any]]:
        return written() if task["task_id"] == "model.train.train" else []


def test_every_attempt_is_a_row_with_its_reason_and_decision() -> None:
    first, second = runs.rows(Api(), "f1_training", 5)
    assert first == (
        "manual__1",
        "train[0]",
        "1",
        "failed",
        "2026-11-24 03:00:00",
        "2026-11-24 03:01:00",
        "4",
        "24Gi",
        "OutOfMemory",
        "retry in 60 s: OutOfMemory, retry 1 of 3, on n1-standard-16 with 49Gi instead of 24Gi",
    )
    assert second[2:9] == ("2", "running", "2026-11-24 03:02:00", "", "4", "49Gi", "")


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert runs.table(("a", "long"), [("wide", "x")]) == "a     long\nwide  x"


def test_another_airflow_is_asked_by_its_address_and_token() -> None:
    api = runs.connect({"AIRFLOW_URL": "https://composer.example/", "AIRFLOW_TOKEN": "t"})
    assert api is not None
    assert api.url == "https://composer.example"


def test_without_an_airflow_it_says_what_to_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runs, "connect", lambda environment: None)
    monkeypatch.setattr("sys.argv", ["runs"])
    assert runs.main() == 69
    assert "make up" in capsys.readouterr().err
