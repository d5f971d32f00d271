"""Following says every line once, in order, and outlasts an API server that is away."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from f1_training.kubernetes.follow import API_GRACE_S, JobFollower
from f1_training.kubernetes.names import Purpose, attempt_ref
from f1_training.kubernetes.status import Observed, Phase
from trainer.contract import FailureReason, TrainingFailure

REF = attempt_ref("job", Purpose.TRAIN, 1, "ns", 2)
CHIEF = {
    "metadata": {"name": "job-1-chief-x", "labels": {"app.kubernetes.io/component": "chief"}},
    "status": {"containerStatuses": [{"state": {"running": {}}}]},
}


def line(text: str) -> str:
    return json.dumps({"message": text, "event": "other", "severity": "INFO"})


@dataclass
class FakeCluster:
    """``log`` is what the pod has said; ``errors`` are raised, one a look, before anything is answered again."""

    log: list[tuple[str, str]] = field(default_factory=list)
    errors: list[TrainingFailure] = field(default_factory=list)
    asked_since: list[int | None] = field(default_factory=list)
    workers: list[dict[str, Any]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    refuses_removal: bool = False

    def observe(self, ref: Any) -> Observed:
        if self.errors:
            raise self.errors.pop(0)
        return Observed(job={"metadata": {"name": ref.job}, "status": {}}, pods=[CHIEF, *self.workers])

    def remove_silent(self, namespace: str, pod: Any) -> None:
        self.removed.append(pod["metadata"]["name"])
        if self.refuses_removal:
            raise TrainingFailure(FailureReason.PERMISSION_DENIED, "pods is forbidden")

    def log_lines(self, namespace: str, pod: str, since_s: int | None = None) -> list[tuple[str, str]]:
        assert (namespace, pod) == ("ns", "job-1-chief-x")
        self.asked_since.append(since_s)
        return list(self.log)


@dataclass
class Clock:
    at: float = 0.0

    def __call__(self) -> float:
        return self.at


def follower(cluster: FakeCluster, clock: Clock | None = None) -> JobFollower:
    return JobFollower(cluster=cluster, ref=REF, grace_s=600, clock=clock or Clock())


def texts(follow: JobFollower) -> list[str]:
    return [said.text for said in follow.look().lines]


def test_every_line_is_said_once_although_looks_overlap() -> None:
    cluster = FakeCluster([("2026-11-23T22:00:00.1Z", line("a")), ("2026-11-23T22:00:00.12Z", line("b"))])
    follow = follower(cluster)
    assert texts(follow) == ["a", "b"]
    assert texts(follow) == []
    cluster.log = [*cluster.log[1:], ("2026-11-23T22:00:00.12Z", line("c")), ("2026-11-23T22:00:01Z", line("d"))]
    assert texts(follow) == ["c", "d"]


def test_only_the_time_since_the_last_look_is_asked_for() -> None:
    cluster, clock = FakeCluster(), Clock()
    follow = follower(cluster, clock)
    for clock.at in (0.0, 15.0, 315.5):
        follow.look()
    assert cluster.asked_since == [None, 20, 305]


def test_what_is_waited_for_is_said_when_it_changes() -> None:
    cluster = FakeCluster()
    pods: list[dict[str, Any]] = []
    cluster.observe = lambda ref: Observed(job={"metadata": {"name": "j"}, "status": {}}, pods=pods)  # type: ignore[method-assign]
    follow = follower(cluster)
    assert texts(follow) == ["waiting for the pod to be created"]
    assert texts(follow) == []
    pods.append(CHIEF)
    assert texts(follow) == []


def away() -> TrainingFailure:
    return TrainingFailure(FailureReason.NETWORK_TIMEOUT, "Kubernetes does not answer")


def test_an_api_server_that_is_away_is_waited_for_and_mentioned_once() -> None:
    cluster, clock = FakeCluster(errors=[away(), away(), away()]), Clock()
    follow = follower(cluster, clock)
    look = follow.look()
    assert [(said.text, said.severity) for said in look.lines] == [("Kubernetes does not answer", "WARNING")]
    assert look.status.phase is Phase.RUNNING
    clock.at = API_GRACE_S
    assert texts(follow) == []
    assert texts(follow) == []
    assert follow.look().status.phase is Phase.RUNNING


def test_for_ever_is_too_long() -> None:
    clock = Clock()
    follow = follower(FakeCluster(errors=[away(), away()]), clock)
    follow.look()
    clock.at = API_GRACE_S + 1
    with pytest.raises(TrainingFailure, match="does not answer"):
        follow.look()


def test_a_refusal_is_final() -> None:
    refused = TrainingFailure(FailureReason.PERMISSION_DENIED, "no")
    with pytest.raises(TrainingFailure, match="no"):
        follower(FakeCluster(errors=[refused])).look()


def worker(deleted_at: str | None, phase: str = "Running") -> dict[str, Any]:
    metadata = {"name": "w", "uid": "u", "labels": {"app.kubernetes.io/component": "worker"}}
    times = {"deletionTimestamp": deleted_at} if deleted_at else {}
    return {"metadata": metadata | times, "status": {"phase": phase, "containerStatuses": [{"state": {"running": {}}}]}}


NOW = datetime(2026, 11, 23, 22, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("pod", "removed"),
    [
        (worker("2026-11-23T22:29:29Z"), ["w"]),
        (worker("2026-11-23T22:29:31Z"), []),
        (worker("2026-11-23T22:30:20Z"), []),
        (worker("2026-11-23T22:20:00Z", "Failed"), []),
        (worker(None), []),
    ],
    ids=["overdue", "nearly", "within its grace", "its end was reported", "not deleted"],
)
def test_a_pod_whose_kubelet_is_silent_is_removed(pod: dict[str, Any], removed: list[str]) -> None:
    cluster = FakeCluster(workers=[pod])
    follow = JobFollower(cluster=cluster, ref=REF, grace_s=600, now=lambda: NOW)
    said = texts(follow)
    assert cluster.removed == removed
    assert [text for text in said if "does not answer: removing" in text] == said[: len(removed)]


def test_a_removal_that_is_refused_is_said_once_and_ends_nothing() -> None:
    cluster = FakeCluster(workers=[worker("2026-11-23T22:20:00Z")], refuses_removal=True)
    follow = JobFollower(cluster=cluster, ref=REF, grace_s=600, now=lambda: NOW)
    assert any("could not be removed: pods is forbidden" in text for text in texts(follow))
    assert texts(follow) == []
    assert follow.look().status.phase is Phase.RUNNING
