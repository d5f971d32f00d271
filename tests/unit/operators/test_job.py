"""Attempts of a job: started, adopted, concluded, deleted, whatever happens to the task's own process."""

import errno
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from f1_training.core.plan import RunPlan
from f1_training.kubernetes.follow import OF_THE_API
from f1_training.kubernetes.manifests import Bundle
from f1_training.kubernetes.status import Observed
from f1_training.operators import DaskTrainingOperator, EvaluationOperator
from f1_training.operators.attempts import KEY, Attempts, AttemptState
from f1_training.operators.training import last_committed_round
from f1_training.operators.triggers import JobTrigger, read_event
from tests.fakes.checkpoint_history import document, manifest
from tests.fakes.run_plan import (
    StateStore,
    evaluation_result,
    held_out_snapshot,
    make_plan,
    settings,
    training_result,
    training_snapshot,
)
from trainer.contract import FailureReason, ObjectStore, Outcome, TrainingFailure, TrainingSpec, layout
from trainer.contract.chain import Epoch
from trainer.contract.fields import encode


def chief(job_id: str, state: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": f"{job_id}-chief-x", "labels": {"app.kubernetes.io/component": "chief"}}
    return {"metadata": metadata, "status": {"containerStatuses": [{"state": state}]}}


@dataclass
class FakeCluster:
    """Jobs by name; their pod begins as ``starts_as``, and ``state`` is what it does now."""

    starts_as: dict[str, Any]
    state: dict[str, Any] = field(default_factory=dict)
    jobs: dict[str, Bundle] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    refuses_to_delete: bool = False
    quota: dict[str, str] = field(default_factory=dict)
    refuses_quotas: FailureReason | None = None

    def quotas(self, namespace: str) -> list[dict[str, Any]]:
        if self.refuses_quotas is not None:
            raise TrainingFailure(self.refuses_quotas, "quotas: Kubernetes answered 403")
        return [{"metadata": {"name": "training"}, "spec": {"hard": self.quota}}]

    def submit(self, bundle: Bundle) -> None:
        if bundle.name not in self.jobs:
            self.jobs[bundle.name] = bundle
            self.state = self.starts_as

    def observe(self, ref: Any) -> Observed:
        if ref.job not in self.jobs:
            return Observed(job=None)
        return Observed(job={"metadata": {"name": ref.job}, "status": {}}, pods=[chief(ref.job_id, self.state)])

    def log_lines(self, namespace: str, pod: str, since_s: int | None = None) -> list[tuple[str, str]]:
        return [("2026-11-23T22:00:00Z", json.dumps({"message": "a line of the chief", "severity": "WARNING"}))]

    def delete(self, namespace: str, job: str) -> None:
        if self.refuses_to_delete:
            raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, "Kubernetes does not answer")
        self.jobs.pop(job, None)
        self.deleted.append(job)


RUNNING: dict[str, Any] = {"running": {}}


def state(task: "Task") -> list[tuple[int, str]]:
    return [(attempt["number"], attempt["state"]) for attempt in task.store.values[KEY]]


def over(outcome: Outcome) -> dict[str, Any]:
    return {"terminated": {"exitCode": outcome.exit_code, "message": outcome.to_json()}}


@dataclass
class Task:
    """A training task of the run, with its state store, on a fake cluster; ``again`` is its next try."""

    plan: RunPlan
    cluster: FakeCluster
    store: StateStore = field(default_factory=StateStore)
    deferrable: bool = True
    operator: Any = None

    def again(self) -> "Task":
        snapshots = {"training": encode(training_snapshot(self.plan))}
        self.operator = DaskTrainingOperator(
            task_id="train", plan=self.plan.to_xcom(), snapshots=snapshots, deferrable=self.deferrable
        )
        self.operator.connect = lambda _plan: self.cluster
        return self

    @property
    def context(self) -> dict[str, Any]:
        return {"task_state_store": self.store}

    def execute(self) -> Any:
        return self.again().operator.execute(self.context)

    def start(self) -> JobTrigger:
        with pytest.raises(TaskDeferred) as caught:
            self.execute()
        assert caught.value.method_name == "execute_complete"
        trigger = caught.value.trigger
        assert isinstance(trigger, JobTrigger)
        return trigger

    def complete(self, attempt: int, outcome: Outcome, evidence: tuple[str, ...] = ()) -> Any:
        event = {"attempt": attempt, "outcome": outcome.to_json(), "evidence": list(evidence)}
        return self.again().operator.execute_complete(self.context, event)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    plan = make_plan(settings(f"file://{tmp_path}", poll_interval_s=0.01, defer_after_s=0))
    return Task(plan=plan, cluster=FakeCluster(RUNNING))


def finished(plan: RunPlan) -> Outcome:
    folder = Path(plan.artifacts_uri.removeprefix("file://"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(training_result(plan).to_json())
    return Outcome(job_id=plan.job_id, last_round=750, result_uri=f"{plan.artifacts_uri}/result.json")


def lost(plan: RunPlan, last_round: int = 0) -> Outcome:
    return Outcome(
        job_id=plan.job_id, reason=FailureReason.WORKERS_LOST, message="1 of 2 workers", last_round=last_round
    )


def spec_of(bundle: Bundle) -> TrainingSpec:
    container = bundle.main["spec"]["template"]["spec"]["containers"][0]
    return TrainingSpec.from_json(next(v["value"] for v in container["env"] if v["name"] == "TRAINING_SPEC"))


def test_the_first_attempt_is_submitted_and_followed_by_the_triggerer(task: Task) -> None:
    trigger = task.start()
    assert trigger.ref.job == f"{task.plan.job_id}-1-chief"
    assert list(task.cluster.jobs) == [trigger.ref.job]
    assert not spec_of(task.cluster.jobs[trigger.ref.job]).resume
    assert state(task) == [(1, "running")]


def test_more_workers_than_the_quota_ever_allows_are_refused_before_anything_is_started(task: Task) -> None:
    task.cluster.quota = {"pods": "2"}
    with pytest.raises(AirflowFailException, match="pods 3 is asked for, 2 is allowed; take fewer workers") as caught:
        task.execute()
    assert str(caught.value).startswith("ConfigInvalid: namespace f1-training, quota 'training'")
    assert task.cluster.jobs == {}


def test_a_quota_that_airflow_may_not_see_is_left_to_the_cluster(task: Task, caplog: pytest.LogCaptureFixture) -> None:
    task.cluster.refuses_quotas = FailureReason.PERMISSION_DENIED
    with caplog.at_level("WARNING"):
        task.start()
    assert "quota not looked at before the start" in caplog.text
    assert len(task.cluster.jobs) == 1


def test_a_task_whose_process_died_adopts_the_running_job(task: Task) -> None:
    first = task.start()
    second = task.start()
    assert second.ref == first.ref
    assert len(task.cluster.jobs) == 1
    assert task.cluster.deleted == []


def test_a_task_that_died_before_it_had_submitted_starts_the_next_attempt(task: Task) -> None:
    Attempts(task.store).begin_next()
    assert task.start().ref.attempt == 2


def test_an_attempt_that_failed_while_nobody_followed_is_deleted_and_the_next_resumes(task: Task) -> None:
    task.start()
    task.cluster.state = over(lost(task.plan, 300))
    trigger = task.start()
    assert task.cluster.deleted == [f"{task.plan.job_id}-1-chief"]
    assert trigger.ref.attempt == 2
    assert spec_of(task.cluster.jobs[trigger.ref.job]).resume


def test_success_is_told_and_the_job_is_deleted(task: Task) -> None:
    task.start()
    result = task.complete(1, finished(task.plan))
    assert result["result_uri"] == f"{task.plan.artifacts_uri}/result.json"
    assert (result["rounds"], result["workers"], result["attempt"], result["resumed"]) == (700, 2, 1, False)
    assert task.cluster.jobs == {}
    assert state(task) == [(1, "succeeded")]


def test_a_failed_attempt_ends_with_reason_evidence_and_what_to_do(
    task: Task, capsys: pytest.CaptureFixture[str]
) -> None:
    task.start()
    with pytest.raises(AirflowException) as caught:
        task.complete(1, lost(task.plan, 300), ("chief ended with exit code 69",))
    message = str(caught.value)
    assert message.startswith("WorkersLost: 1 of 2 workers")
    assert message.endswith("retry in 60 s: WorkersLost, retry 1 of 3, with 1 of 2 workers; resumes at round 300")
    assert not isinstance(caught.value, AirflowFailException)
    assert task.cluster.jobs == {}
    assert state(task) == [(1, "failed")]
    lines = [line for line in capsys.readouterr().out.splitlines() if "[error" in line]
    assert "attempt 1 failed: WorkersLost: 1 of 2 workers" in lines[-3]
    assert "evidence: chief ended with exit code 69" in lines[-2]
    assert "decision: retry in 60 s: WorkersLost, retry 1 of 3, with 1 of 2 workers" in lines[-1]


def test_a_cleared_task_after_a_failed_attempt_starts_the_next_which_resumes(task: Task) -> None:
    task.start()
    with pytest.raises(AirflowException):
        task.complete(1, lost(task.plan, 300))
    trigger = task.start()
    assert trigger.ref.attempt == 2
    spec = spec_of(task.cluster.jobs[trigger.ref.job])
    assert spec.resume
    assert spec.output.checkpoints == task.plan.checkpoints_uri


def of(task: Task, reason: FailureReason) -> Outcome:
    return Outcome(job_id=task.plan.job_id, reason=reason, message="so it ended", last_round=100)


def fail(task: Task, attempt: int, reason: FailureReason) -> BaseException:
    with pytest.raises(AirflowException) as caught:
        task.complete(attempt, of(task, reason))
    return caught.value


def test_the_next_attempt_has_one_worker_fewer_and_the_last_of_them_ends_the_task(task: Task) -> None:
    task.plan = make_plan(task.plan.settings, num_workers=4)
    for attempt, workers in enumerate((4, 3, 2), start=1):
        ref = task.start().ref
        assert spec_of(task.cluster.jobs[ref.job]).num_workers == workers
        error = fail(task, attempt, FailureReason.WORKERS_LOST)
        assert not isinstance(error, AirflowFailException)
    task.start()
    final = fail(task, 4, FailureReason.WORKERS_LOST)
    assert isinstance(final, AirflowFailException)
    assert "; all 3 retries are used up (WorkersLost, WorkersLost, WorkersLost); start the run again with" in str(final)
    assert "to resume at round 100" in str(final)
    assert [a["decision"]["retry"] for a in task.store.values[KEY]] == [True, True, True, False]
    # A person clears the task: everything as planned, and the budgets as new.
    assert spec_of(task.cluster.jobs[task.start().ref.job]).num_workers == 4
    assert not isinstance(fail(task, 5, FailureReason.WORKERS_LOST), AirflowFailException)


def memory_of(bundle: Bundle) -> str:
    workers = next(m for m in bundle.owned if m["kind"] == "Job")
    return str(workers["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"])


def test_out_of_memory_moves_to_a_larger_machine_once(task: Task) -> None:
    assert memory_of(task.cluster.jobs[task.start().ref.job]) == "24Gi"
    assert not isinstance(fail(task, 1, FailureReason.OUT_OF_MEMORY), AirflowFailException)
    assert memory_of(task.cluster.jobs[task.start().ref.job]) == "49Gi"
    assert isinstance(fail(task, 2, FailureReason.OUT_OF_MEMORY), AirflowFailException)


def test_a_failure_that_nobody_followed_spends_its_budget_too(task: Task) -> None:
    for _ in range(3):
        task.start()
        task.cluster.state = over(of(task, FailureReason.CHIEF_LOST))
    with pytest.raises(AirflowFailException, match="the 2 retries for ChiefLost are used up"):
        task.execute()
    assert task.cluster.jobs == {}


def test_an_event_that_comes_twice_is_decided_once(task: Task) -> None:
    task.start()
    fail(task, 1, FailureReason.OUT_OF_MEMORY)
    assert not isinstance(fail(task, 1, FailureReason.OUT_OF_MEMORY), AirflowFailException)
    assert len(task.store.values[KEY]) == 1


def test_an_api_that_is_away_does_not_end_the_attempt(task: Task) -> None:
    first = task.start()
    outcome = of(task, FailureReason.NETWORK_TIMEOUT)
    with pytest.raises(AirflowException, match="the next try adopts it"):
        task.complete(1, outcome, (OF_THE_API,))
    assert task.cluster.deleted == []
    assert task.start().ref == first.ref


def test_invalid_data_is_final(task: Task) -> None:
    task.start()
    outcome = Outcome(job_id=task.plan.job_id, reason=FailureReason.DATA_INVALID, message="NaN", last_round=100)
    with pytest.raises(AirflowFailException, match=r"^DataInvalid: NaN; the last committed round is 100; the data"):
        task.complete(1, outcome)


def test_what_was_committed_is_read_from_the_checkpoints_when_the_chief_could_not_say(task: Task) -> None:
    for epoch, rounds in ((1, 100), (1, 200), (2, 150)):
        path = Path(task.plan.checkpoints_uri.removeprefix("file://"), f"epochs/{epoch:06d}/rounds/{rounds:08d}")
        path.mkdir(parents=True)
        (path / "manifest.json").write_text("{}")
    assert last_committed_round(task.plan.checkpoints_uri) == 150
    task.start()
    outcome = Outcome(job_id=task.plan.job_id, reason=FailureReason.CHIEF_LOST, message="killed")
    with pytest.raises(AirflowException, match="resumes at round 150"):
        task.complete(1, outcome)


def committed(task: Task, rounds: int) -> Path:
    """Checkpoints of a finished run, one a round; returns their folder."""
    folder = Path(task.plan.checkpoints_uri.removeprefix("file://"))
    boundaries = [(1, boundary) for boundary in range(1, rounds + 1)]
    files = {layout.epoch_marker(1): Epoch(job_id="job", epoch=1, chief="a").to_json().encode()}
    for boundary in range(1, rounds + 1):
        done = manifest(1, boundaries[:boundary], finished=boundary == rounds)
        files[layout.manifest(1, boundary)] = done.to_json().encode()
        files[layout.segment_file(1, boundary, ".ubj")] = document(1, boundary)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_of_a_run_that_succeeded_the_newest_checkpoints_stay(task: Task) -> None:
    folder = committed(task, 5)
    task.start()
    task.complete(1, finished(task.plan))
    assert last_committed_round(task.plan.checkpoints_uri) == 5
    assert sorted(p.parent.name for p in folder.rglob("manifest.json")) == ["00000003", "00000004", "00000005"]
    assert len(list(folder.rglob("segment.ubj"))) == 5


def test_of_a_run_that_failed_all_stay(task: Task) -> None:
    folder = committed(task, 5)
    task.start()
    with pytest.raises(AirflowException):
        task.complete(1, lost(task.plan, 5))
    assert len(list(folder.rglob("manifest.json"))) == 5


def test_that_nothing_can_be_removed_does_not_fail_what_is_trained(
    task: Task, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_store: ObjectStore, _name: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    folder = committed(task, 5)
    monkeypatch.setattr(ObjectStore, "delete", refuse)
    task.start()
    assert task.complete(1, finished(task.plan))["rounds"] == 700
    assert "old checkpoints could not be removed" in capsys.readouterr().out
    assert len(list(folder.rglob("manifest.json"))) == 5


def test_nothing_committed_is_said(task: Task) -> None:
    task.start()
    with pytest.raises(AirflowException, match="no round was committed"):
        task.complete(1, lost(task.plan))


def test_that_the_job_cannot_be_deleted_does_not_hide_how_it_ended(task: Task) -> None:
    task.start()
    task.cluster.refuses_to_delete = True
    assert task.complete(1, finished(task.plan))["rounds"] == 700
    with pytest.raises(AirflowException, match="^WorkersLost"):
        task.complete(1, lost(task.plan))


def test_a_killed_task_kills_its_job(task: Task) -> None:
    task.again().operator.on_kill()
    assert task.cluster.deleted == []
    operator = task.again().operator
    with pytest.raises(TaskDeferred):
        operator.execute(task.context)
    operator.on_kill()
    assert task.cluster.deleted == [f"{task.plan.job_id}-1-chief"]


def test_without_the_triggerer_the_task_follows_by_itself(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    task.deferrable = False
    task.cluster.starts_as = over(finished(task.plan))
    assert task.execute()["rounds"] == 700
    assert task.cluster.jobs == {}
    assert "[warning  ] a line of the chief" in capsys.readouterr().out


def test_a_job_that_is_over_soon_is_never_deferred(task: Task) -> None:
    task.plan = make_plan(settings(task.plan.settings.uris.models.removesuffix("/models"), poll_interval_s=0.01))
    task.cluster.starts_as = over(finished(task.plan))
    assert task.execute()["rounds"] == 700


def test_the_triggerer_goes_on_after_the_lines_that_were_said(task: Task) -> None:
    assert task.start().said_until == "2026-11-23T22:00:00.000000000"


def test_without_the_triggerer_a_refusal_of_the_api_fails_the_task(task: Task) -> None:
    task.deferrable = False
    refused = TrainingFailure(FailureReason.PERMISSION_DENIED, "no pods for you")

    def observe(_ref: Any) -> Observed:
        raise refused

    task.cluster.observe = observe  # type: ignore[method-assign, assignment]
    with pytest.raises(AirflowFailException, match="^PermissionDenied: no pods for you"):
        task.execute()


@pytest.mark.parametrize(("workers", "kinds"), [(1, []), (2, ["Service", "Secret", "Job"])])
def test_one_worker_starts_one_pod(tmp_path: Path, workers: int, kinds: list[str]) -> None:
    plan = make_plan(settings(f"file://{tmp_path}", defer_after_s=0), num_workers=workers)
    task = Task(plan=plan, cluster=FakeCluster(RUNNING))
    trigger = task.start()
    assert [m["kind"] for m in task.cluster.jobs[trigger.ref.job].owned] == kinds
    assert bool(trigger.ref.worker_job) is (workers > 1)


def test_an_evaluation_is_a_job_of_its_own(task: Task) -> None:
    plan, outcome = task.plan, finished(task.plan)
    found = evaluation_result(plan, training_result(plan))
    uri = f"{plan.artifacts_uri}/metrics.json"
    Path(uri.removeprefix("file://")).write_text(found.to_json())
    operator = EvaluationOperator(
        task_id="evaluate",
        plan=plan.to_xcom(),
        snapshots={"training": encode(training_snapshot(plan)), "evaluation": encode(held_out_snapshot(plan))},
        trained={"result_uri": outcome.result_uri},
    )
    operator.connect = lambda _plan: task.cluster  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(TaskDeferred):
        operator.execute(task.context)
    (name,) = task.cluster.jobs
    assert name == f"{plan.job_id}-eval-1"
    event = {"attempt": 1, "outcome": Outcome(job_id=plan.job_id, result_uri=uri).to_json(), "evidence": []}
    assert operator.execute_complete(task.context, event) == {
        "evaluation_uri": uri,
        "metrics": dict(found.metrics),
        "rows": 400,
    }
    assert task.cluster.deleted == [name]


def test_attempts_survive_in_the_store() -> None:
    store = StateStore()
    assert Attempts(store).newest() is None
    assert Attempts(store).begin_next().number == 1
    Attempts(store).failed(1)
    assert Attempts(store).begin_next().number == 2
    json.dumps(store.values)
    assert [a.state for a in Attempts(store).all()] == [AttemptState.FAILED, AttemptState.RUNNING]


def test_an_event_is_read_as_it_was_made(task: Task) -> None:
    outcome = lost(task.plan, 3)
    assert read_event({"attempt": 2, "outcome": outcome.to_json(), "evidence": ["x"]}) == (2, outcome, ["x"])
