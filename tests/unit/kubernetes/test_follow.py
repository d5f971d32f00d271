"""Following says every line once, in order, and outlasts an API server that is away."""

import json
from dataclasses import dataclass, field
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

    def observe(self, ref: Any) -> Observed:
        if self.errors:
            raise self.errors.pop(0)
        return Observed(job={"metadata": {"name": ref.job}, "status": {}}, pods=[CHIEF])

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
    cluster.observe = lambda ref: Observed(job={"metadata": {}, "status": {}}, pods=pods)  # type: ignore[method-assign]
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
