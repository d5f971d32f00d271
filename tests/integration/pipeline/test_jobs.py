"""Jobs against Kubernetes' own protocol: submitted, adopted, followed, ended, and never left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from f1_training.core.plan import RunPlan
from f1_training.core.specs import training_spec
from f1_training.kubernetes.certificates import issue
from f1_training.kubernetes.client import Cluster as Client
from f1_training.kubernetes.manifests import Bundle, training_bundle
from f1_training.kubernetes.names import Purpose, attempt_ref
from f1_training.kubernetes.settings import job_settings
from f1_training.operators import DaskTrainingOperator
from f1_training.operators.attempts import KEY
from f1_training.operators.triggers import JobTrigger, read_event
from tests.fakes.run_plan import StateStore, training_result, training_snapshot
from tests.integration.pipeline.conftest import NAMESPACE, REPOSITORY, Cluster, deployed, plan_of
from tests.integration.pipeline.pods import trainer as pods
from trainer.contract import FailureReason, TrainingFailure
from trainer.contract.fields import encode

pytestmark = pytest.mark.timeout(400)


@dataclass
class Job:
    """A training task whose pods do what ``rounds`` says."""

    plan: RunPlan
    cluster: Cluster
    store: Any

    def operator(self, *, deferrable: bool = False) -> DaskTrainingOperator:
        return DaskTrainingOperator(
            task_id="train",
            plan=self.plan.to_xcom(),
            snapshots={"training": encode(training_snapshot(self.plan))},
            deferrable=deferrable,
        )

    def run(self) -> Any:
        return self.operator().execute({"task_state_store": self.store})

    def own(self) -> set[str]:
        return {name for name in self.cluster.names() if self.plan.job_id in name}

    def bundle(self, rounds: int | None = None) -> Bundle:
        from dataclasses import replace

        settings = job_settings(self.plan, Purpose.TRAIN, 1)
        spec = training_spec(self.plan, training_snapshot(self.plan), 1)
        spec = spec if rounds is None else replace(spec, rounds=rounds)
        return training_bundle(spec, settings, issue(settings.names.dns_names(), 3600))


@pytest.fixture
def job(cluster: Cluster, tmp_path: Path) -> Callable[..., Job]:
    def made(rounds: int, **params: Any) -> Job:
        settings = deployed(tmp_path, kubernetes_conn_id=cluster.conn_id)
        plan = plan_of(settings, run_id=tmp_path.name, rounds=rounds, **params)
        folder = Path(plan.artifacts_uri.removeprefix("file://"))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").write_text(training_result(plan).to_json())
        return Job(plan, cluster, StateStore())

    return made


def eventually(condition: Callable[[], bool], within_s: float = 90.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"not within {within_s} s"
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_succeeds_its_log_is_copied_and_nothing_is_left(
    job: Callable[..., Job], workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    made = job(pods.SUCCEED, num_workers=workers)
    assert made.run()["rounds"] == 700
    said = capsys.readouterr().out
    assert "round 1 of 2, mae 561.2, 410k rows/s, 0:42 left" in said
    assert "resume is False" in said
    assert said.count("has True") == (3 if workers > 1 else 0)
    eventually(lambda: made.own() == set())


def test_a_failed_attempt_tells_why_is_deleted_and_the_next_resumes(
    job: Callable[..., Job], capsys: pytest.CaptureFixture[str]
) -> None:
    made = job(pods.FAIL)
    with pytest.raises(AirflowException, match="^WorkersLost: 1 of 2 workers is gone; .* resumes at round 300"):
        made.run()
    assert [(a["number"], a["state"], a["reason"]) for a in made.store.values[KEY]] == [(1, "failed", "WorkersLost")]
    eventually(lambda: made.own() == set())
    with pytest.raises(AirflowException, match="^WorkersLost"):
        made.run()
    assert "resume is True" in capsys.readouterr().out
    assert [a["size"]["num_workers"] for a in made.store.values[KEY]] == [2, 1]


def test_a_chief_that_is_killed_without_a_word_is_lost(job: Callable[..., Job]) -> None:
    with pytest.raises(AirflowException, match="^ChiefLost: .* ended with exit code 137") as caught:
        job(pods.DIE).run()
    assert not isinstance(caught.value, AirflowFailException)


async def test_the_trigger_follows_what_the_task_started(
    job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("f1_training.operators.triggers.RESUME_AFTER_S", 0.0)
    made = job(pods.SUCCEED)
    operator = made.operator(deferrable=True)
    from dataclasses import replace

    operator.plan = replace(made.plan, settings=replace(made.plan.settings, defer_after_s=0.0)).to_xcom()
    try:
        event = {"result": operator.execute({"task_state_store": made.store})}
    except TaskDeferred as deferred:
        path, arguments = deferred.trigger.serialize()
        assert path.endswith("JobTrigger")
        (fired,) = [e async for e in JobTrigger(**json.loads(json.dumps(arguments))).run()]
        attempt, outcome, _ = read_event(fired.payload)
        assert (attempt, outcome.succeeded) == (1, True)
        event = {"result": made.operator().execute_complete({"task_state_store": made.store}, fired.payload)}
    assert event["result"]["rounds"] == 700
    eventually(lambda: made.own() == set())


class FileStore:
    """A state store that outlives a killed process, as Airflow's does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.path.read_text()).get(key, default) if self.path.exists() else default

    def set(self, key: str, value: Any) -> None:
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps({key: value}))
        temporary.replace(self.path)


TASK = """
import json, sys
from pathlib import Path
from tests.integration.pipeline.test_jobs import FileStore
from f1_training.operators import DaskTrainingOperator
plan, snapshot, store = json.load(open(sys.argv[1])), json.load(open(sys.argv[2])), FileStore(Path(sys.argv[3]))
DaskTrainingOperator(task_id="train", plan=plan, snapshots={"training": snapshot}, deferrable=False).execute(
    {"task_state_store": store})
"""


def test_a_task_whose_process_is_killed_adopts_the_job_that_goes_on(job: Callable[..., Job], tmp_path: Path) -> None:
    made = job(pods.WAIT)
    made.store = FileStore(tmp_path / "state.json")
    (tmp_path / "plan.json").write_text(json.dumps(made.plan.to_xcom()))
    (tmp_path / "snapshot.json").write_text(json.dumps(encode(training_snapshot(made.plan))))
    arguments = [str(tmp_path / name) for name in ("plan.json", "snapshot.json", "state.json")]
    with subprocess.Popen(
        [sys.executable, "-c", TASK, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'plugins'}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            eventually(lambda: len([n for n in made.own() if n.startswith("pod/")]) == 3)
        finally:
            process.send_signal(signal.SIGKILL)
    before = {p.metadata.name: p.metadata.uid for p in made.cluster.core.list_namespaced_pod(NAMESPACE).items}
    operator = made.operator(deferrable=True)
    from dataclasses import replace

    operator.plan = replace(made.plan, settings=replace(made.plan.settings, defer_after_s=0.0)).to_xcom()
    with pytest.raises(TaskDeferred):
        operator.execute({"task_state_store": made.store})
    assert [(a["number"], a["state"]) for a in made.store.get(KEY)] == [(1, "running")]
    after = {p.metadata.name: p.metadata.uid for p in made.cluster.core.list_namespaced_pod(NAMESPACE).items}
    assert after == before
    operator.on_kill()
    eventually(lambda: made.own() == set())


def test_submitting_twice_adopts_and_changes_nothing(job: Callable[..., Job]) -> None:
    made = job(pods.WAIT)
    client = Client.connect(made.cluster.conn_id)
    client.submit(made.bundle())
    secret = f"{made.plan.job_id}-1-tls"
    first = made.cluster.core.read_namespaced_secret(secret, NAMESPACE).data
    jobs = {n for n in made.own() if not n.startswith("pod/")}
    client.submit(made.bundle())
    assert {n for n in made.own() if not n.startswith("pod/")} == jobs
    assert len(jobs) == 4
    assert made.cluster.core.read_namespaced_secret(secret, NAMESPACE).data == first
    client.delete(NAMESPACE, f"{made.plan.job_id}-1-chief")
    client.delete(NAMESPACE, f"{made.plan.job_id}-1-chief")
    eventually(lambda: made.own() == set())
    client.delete(NAMESPACE, f"{made.plan.job_id}-1-chief")


def test_a_half_submitted_attempt_is_completed(job: Callable[..., Job]) -> None:
    made = job(pods.WAIT)
    client, bundle = Client.connect(made.cluster.conn_id), made.bundle()
    made.cluster.batch.create_namespaced_job(NAMESPACE, bundle.main)
    assert made.cluster.batch.read_namespaced_job(bundle.name, NAMESPACE).spec.suspend
    client.submit(bundle)
    assert not made.cluster.batch.read_namespaced_job(bundle.name, NAMESPACE).spec.suspend
    eventually(lambda: len([n for n in made.own() if n.startswith("pod/")]) == 3)
    client.delete(NAMESPACE, bundle.name)
    eventually(lambda: made.own() == set())


def test_a_job_of_the_same_name_with_another_spec_is_not_adopted(job: Callable[..., Job]) -> None:
    made = job(pods.WAIT)
    client = Client.connect(made.cluster.conn_id)
    client.submit(made.bundle())
    with pytest.raises(TrainingFailure, match="exists with another spec; delete it") as caught:
        client.submit(made.bundle(rounds=7))
    assert caught.value.reason is FailureReason.CONFIG_INVALID
    client.delete(NAMESPACE, made.bundle().name)
    eventually(lambda: made.own() == set())


def test_a_deleted_job_is_seen_as_lost(job: Callable[..., Job]) -> None:
    made = job(pods.WAIT)
    client = Client.connect(made.cluster.conn_id)
    ref = attempt_ref(made.plan.job_id, Purpose.TRAIN, 1, NAMESPACE, 2)
    assert client.observe(ref).job is None


def test_a_missing_namespace_is_wrong_configuration(job: Callable[..., Job]) -> None:
    from dataclasses import replace

    made = job(pods.SUCCEED)
    made.plan = replace(made.plan, settings=replace(made.plan.settings, namespace="nowhere"))
    with pytest.raises(AirflowFailException, match="^ConfigInvalid: .*nowhere"):
        made.run()


def test_a_connection_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailure, match="no Airflow connection 'no_such_cluster'; create one of type"):
        Client.connect("no_such_cluster")


def test_a_google_connection_without_a_cluster_s_name_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_GKE", json.dumps({"conn_type": "google_cloud_platform", "extra": {}}))
    with pytest.raises(TrainingFailure, match="lacks the extras cluster_name, cluster_location"):
        Client.connect("gke")


def test_a_cluster_that_does_not_answer_is_a_timeout(job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    made = job(pods.SUCCEED)
    config = {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
        "current-context": "c",
    }
    connection = {"conn_type": "kubernetes", "extra": {"kube_config": json.dumps(config)}}
    monkeypatch.setenv("AIRFLOW_CONN_DEAD", json.dumps(connection))
    client = Client.connect("dead")
    with pytest.raises(TrainingFailure, match="Kubernetes does not answer") as caught:
        client.submit(made.bundle())
    assert caught.value.reason is FailureReason.NETWORK_TIMEOUT
