"""The trigger follows a job, ends with one event, and deletes the job only for a task that has ended."""

from types import SimpleNamespace
from typing import Any

import pytest

from f1_training.kubernetes.client import Cluster
from f1_training.kubernetes.names import Purpose, attempt_ref
from f1_training.operators import triggers
from f1_training.operators.triggers import JobTrigger, read_event
from tests.unit.operators.test_job import RUNNING, FakeCluster, over
from trainer.contract import FailureReason, Outcome, TrainingFailure

REF = attempt_ref("job", Purpose.TRAIN, 3, "ns", 2)
DONE = Outcome(job_id="job", last_round=60, result_uri="gs://a/result.json")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    made = FakeCluster(RUNNING, RUNNING, jobs={REF.job: None})  # type: ignore[dict-item]
    monkeypatch.setattr(Cluster, "connect", lambda conn_id: made)
    monkeypatch.setattr(triggers, "RESUME_AFTER_S", 0.0)
    return made


def trigger() -> JobTrigger:
    return JobTrigger(conn_id="kubernetes_default", ref=REF, poll_interval_s=0.01, grace_s=600)


async def event(made: JobTrigger) -> tuple[int, Outcome, list[str]]:
    (only,) = [fired async for fired in made.run()]
    return read_event(only.payload)


def test_it_is_made_again_from_what_was_stored() -> None:
    path, arguments = trigger().serialize()
    assert path == "f1_training.operators.triggers.JobTrigger"
    again = JobTrigger(**arguments)
    assert again.serialize() == trigger().serialize()
    assert again.ref == REF


async def test_the_event_says_how_the_job_ended(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    looks = 0
    observe = cluster.observe

    def observed(ref: Any) -> Any:
        nonlocal looks
        looks += 1
        cluster.state = over(DONE) if looks > 2 else RUNNING
        return observe(ref)

    cluster.observe = observed  # type: ignore[method-assign]
    attempt, outcome, evidence = await event(trigger())
    assert (attempt, outcome) == (3, DONE)
    assert evidence == ["job-chief-x ended with exit code 0"]
    assert capsys.readouterr().out.count("[warning  ] a line of the chief") == 1


async def test_lines_that_the_task_has_said_are_not_said_again(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.state = over(DONE)
    made = trigger()
    made.said_until = "2026-11-23T22:00:00.000000001"
    assert (await event(made))[1] == DONE
    assert "a line of the chief" not in capsys.readouterr().out


async def test_a_job_that_is_over_at_once_waits_until_the_scheduler_knows_of_the_deferral(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(triggers, "RESUME_AFTER_S", 10.0)
    monkeypatch.setattr("f1_training.operators.triggers.asyncio.sleep", sleep)
    cluster.state = over(DONE)
    await event(trigger())
    assert slept == [pytest.approx(10.0, abs=1.0)]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TrainingFailure(FailureReason.PERMISSION_DENIED, "no"), FailureReason.PERMISSION_DENIED),
        (ZeroDivisionError("odd"), FailureReason.BUG),
    ],
)
async def test_whatever_goes_wrong_there_is_an_event(
    cluster: FakeCluster, error: Exception, reason: FailureReason
) -> None:
    def observe(_ref: Any) -> Any:
        raise error

    cluster.observe = observe  # type: ignore[method-assign, assignment]
    _, outcome, _ = await event(trigger())
    assert outcome.reason is reason


@pytest.mark.parametrize(
    ("state", "deleted"),
    [
        ("failed", True),
        ("success", True),
        ("skipped", True),
        ("removed", True),
        ("deferred", False),
        ("running", False),
        ("queued", False),
        ("scheduled", False),
        ("up_for_retry", False),
        (None, False),
    ],
)
async def test_the_job_is_deleted_only_for_a_task_that_has_ended(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, state: str | None, deleted: bool
) -> None:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    asked: list[dict[str, Any]] = []

    def get_task_states(**arguments: Any) -> dict[str, Any]:
        asked.append(arguments)
        return {"run": {"train_0": state}}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", get_task_states)
    made = trigger()
    task = SimpleNamespace(dag_id="dag", task_id="train", run_id="run", map_index=0)
    monkeypatch.setattr(JobTrigger, "task_instance", task)
    await made.on_kill()
    assert asked == [{"dag_id": "dag", "task_ids": ["train"], "run_ids": ["run"], "map_index": 0}]
    assert bool(cluster.deleted) is deleted


async def test_a_trigger_that_knows_no_task_deletes_nothing(cluster: FakeCluster) -> None:
    await trigger().on_kill()
    assert cluster.deleted == []
