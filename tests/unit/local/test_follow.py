"""From task instances to the lines and the table that a person sees."""

from typing import Any

import pytest

from composer.local.airflow_api import AirflowApiError
from composer.local.follow import RunFollower, stage_of, stage_rows


def task(task_id: str, state: str | None, start: int = 0, end: int | None = None, map_index: int = 0) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "map_index": map_index,
        "state": state,
        "start_date": f"2026-11-23T22:00:{start:02d}Z",
        "end_date": None if end is None else f"2026-11-23T22:00:{end:02d}.5Z",
        "duration": None if end is None else end - start + 0.5,
    }


def test_stages_come_from_the_task_groups() -> None:
    assert stage_of("model.train.train") == "train"
    assert stage_of("plan") == "plan"
    assert stage_of("other") == "other"


def test_the_table_has_the_pipelines_order_and_the_worst_state() -> None:
    rows = stage_rows(
        [
            task("model.train.train", "failed", 10, 20),
            task("model.train.train", "success", 11, 30, map_index=1),
            task("plan", "success", 0, 1),
            task("model.register.register", "upstream_failed"),
        ]
    )
    assert [(r.stage, r.state, r.seconds) for r in rows] == [
        ("plan", "success", 1.5),
        ("train", "failed", 20.5),
        ("register", "upstream_failed", None),
    ]


def test_tasks_of_several_models_say_which() -> None:
    tasks = [task("plan", "success", 0, 1, map_index=-1), task("model.train.train", "failed", 2, 3, map_index=1)]
    for models, said in ((["a", "b"], "train      failed 1.5 s  b"), (["a"], "train      failed 1.5 s")):
        lines: list[str] = []
        api: Any = FakeApi([("failed", tasks)])
        follower = RunFollower(api, "r", say=lines.append, check=lambda: None, models=lambda names=models: names)  # type: ignore[misc]
        follower.follow(deadline_s=5, interval_s=0)
        assert lines == ["plan       success 1.5 s", said]


class FakeApi:
    def __init__(self, answers: list[tuple[str, list[dict[str, Any]]] | AirflowApiError]) -> None:
        self._answers = answers

    def dag_run(self, _dag: str, _run: str) -> dict[str, Any]:
        answer = self._answers[0]
        if isinstance(answer, AirflowApiError):
            self._answers.pop(0)
            raise answer
        return {"state": answer[0]}

    def task_instances(self, _dag: str, _run: str) -> list[dict[str, Any]]:
        answer = self._answers.pop(0)
        assert not isinstance(answer, AirflowApiError)
        return answer[1]


def follow(answers: list[Any]) -> tuple[str, list[str]]:
    lines: list[str] = []
    follower = RunFollower(FakeApi(answers), "r", say=lines.append, check=lambda: None)  # type: ignore[arg-type]
    state, _ = follower.follow(deadline_s=10, interval_s=0)
    return state, lines


def test_what_a_stage_did_not_need_to_do_is_not_said() -> None:
    tasks = [
        task("model.register.register", "success", 0, 1),
        task("model.register.upload_to_vertex", "skipped", 1, 2),
        task("model.serve.serve", "skipped", 1, 2),
    ]
    _, lines = follow([("success", tasks)])
    assert [line.split()[:2] for line in lines] == [["register", "success"], ["serve", "skipped"]]


def test_each_change_is_said_once_and_a_busy_server_is_asked_again() -> None:
    state, lines = follow(
        [
            ("running", [task("plan", "running")]),
            ("running", [task("plan", "running")]),
            AirflowApiError(500, "database is locked"),
            ("success", [task("plan", "success", 0, 1)]),
        ]
    )
    assert state == "success"
    assert lines == ["plan       running", "plan       success 1.5 s"]


def test_a_refusal_is_not_asked_again() -> None:
    with pytest.raises(AirflowApiError, match="forbidden"):
        follow([AirflowApiError(403, "forbidden")])


def test_a_run_that_does_not_end_is_given_up() -> None:
    follower = RunFollower(FakeApi([("running", [])]), "r", say=lambda _: None, check=lambda: None)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError, match="did not end"):
        follower.follow(deadline_s=-1, interval_s=0)
