"""Jobs without a live run are deleted, all others left alone."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException

from f1_training.kubernetes.manifests import Manifest
from f1_training.kubernetes.reaping import YOUNGEST, JobOfRun, jobs_of_runs
from f1_training.operators import ReaperOperator
from tests.unit.kubernetes.test_manifests import BUNDLES, objects
from tests.unit.operators.test_planning import VARIABLE
from trainer.contract import FailureReason, TrainingFailure

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def created(manifest: Manifest, age: timedelta, **metadata: Any) -> Manifest:
    stamp = (NOW - age).isoformat().replace("+00:00", "Z")
    return {**manifest, "metadata": {**manifest["metadata"], "creationTimestamp": stamp, **metadata}}


def jobs(name: str, age: timedelta = YOUNGEST, **metadata: Any) -> list[Manifest]:
    return [created(m, age, **metadata) for m in objects(BUNDLES[name]) if m["kind"] == "Job"]


def test_a_main_job_says_which_run_started_it_and_owned_jobs_go_with_it() -> None:
    chief, worker = jobs("google-cloud-3-workers")
    (found,) = jobs_of_runs([worker, chief], NOW)
    assert found == JobOfRun(job=chief["metadata"]["name"], dag_id="f1_training", run_id="manual__1")


def test_evaluation_s_job_is_a_main_job() -> None:
    assert len(jobs_of_runs(jobs("evaluation"), NOW)) == 1


@pytest.mark.parametrize(
    ("age", "metadata"),
    [
        (YOUNGEST - timedelta(seconds=1), {}),
        (YOUNGEST, {"deletionTimestamp": "2026-11-24T02:59:00Z"}),
        (YOUNGEST, {"annotations": {}}),
    ],
    ids=["young", "being deleted", "not ours"],
)
def test_others_are_left_alone(age: timedelta, metadata: dict[str, Any]) -> None:
    assert jobs_of_runs(jobs("evaluation", age, **metadata), NOW) == []


class Cluster:
    def __init__(self, found: list[Manifest], failure: TrainingFailure | None = None) -> None:
        self.found, self.failure = found, failure
        self.deleted: list[tuple[str, str]] = []

    def jobs(self, namespace: str) -> list[Manifest]:
        if self.failure:
            raise self.failure
        return self.found

    def delete(self, namespace: str, job: str) -> None:
        self.deleted.append((namespace, job))


class Reaper(ReaperOperator):
    cluster: Any = None

    def connect(self, settings: Any) -> Any:
        return self.cluster


def reap(cluster: Cluster, live: set[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("AIRFLOW_VAR_F1_TRAINING", json.dumps(VARIABLE))

    def count(dag_id: str, run_ids: list[str], states: list[str]) -> int:
        assert (dag_id, states) == ("f1_training", ["queued", "running"])
        return len(live & set(run_ids))

    made = Reaper(task_id="reap")
    made.cluster = cluster
    return made.execute({"ti": SimpleNamespace(get_dr_count=count)})


def test_a_job_without_a_live_run_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    old = jobs("google-cloud-3-workers", timedelta(days=2000))
    cluster = Cluster(old)
    assert reap(cluster, {"manual__1"}, monkeypatch) == cluster.deleted == []
    name = old[0]["metadata"]["name"]
    assert reap(cluster, set(), monkeypatch) == [name]
    assert cluster.deleted == [("f1-training", name)]


def test_an_api_that_is_away_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster([], TrainingFailure(FailureReason.NETWORK_TIMEOUT, "Jobs: Kubernetes does not answer"))
    with pytest.raises(AirflowException, match="^NetworkTimeout: Jobs"):
        reap(cluster, set(), monkeypatch)
