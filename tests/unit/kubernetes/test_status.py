"""From what the API says to why a job ended: one table of evidence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from f1_training.kubernetes.status import Observed, Phase, job_status
from trainer.contract import FailureReason, Outcome

NOW = datetime(2026, 11, 23, 22, 30, tzinfo=UTC)
GRACE_S = 600.0
JOB = "job"


def at(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).isoformat().replace("+00:00", "Z")


def said(reason: FailureReason | None = None, job_id: str = JOB, **fields: Any) -> str:
    return Outcome(job_id=job_id, reason=reason, message="as it says", **fields).to_json()


def job(seconds_ago: float = 60, *conditions: dict[str, str], **metadata: Any) -> dict[str, Any]:
    status = {"startTime": at(seconds_ago), "conditions": list(conditions)}
    return {"metadata": {"name": "job-1-chief", **metadata}, "status": status}


def failed(reason: str, message: str = "") -> dict[str, str]:
    return {"type": "Failed", "status": "True", "reason": reason, "message": message}


def pod(role: str, state: dict[str, Any] | None = None, seconds_ago: float = 60, **status: Any) -> dict[str, Any]:
    metadata = {
        "name": f"job-1-{role}-x",
        "labels": {"app.kubernetes.io/component": role},
        "creationTimestamp": at(seconds_ago),
    }
    containers = [{"state": state}] if state is not None else []
    return {"metadata": metadata, "status": {"containerStatuses": containers, **status}}


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "message": message, "reason": reason}}


RUNNING: dict[str, Any] = {"running": {"startedAt": at(30)}}
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
DISK = "Pod ephemeral local storage usage exceeds the total limit of containers 20Gi. "
NO_SECRET = 'MountVolume.SetUp failed for volume "tls" : secret "job-1-tls" not found'
DISRUPTED = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}


def event(reason: str, message: str, of: str = "job-1-chief", seconds_ago: float = 5) -> dict[str, Any]:
    about = {"kind": "Pod" if of.endswith("-x") else "Job", "name": of}
    return {"reason": reason, "message": message, "involvedObject": about, "lastTimestamp": at(seconds_ago)}


def worker_job(completions: int = 2) -> dict[str, Any]:
    return {"metadata": {"name": "job-1-work"}, "spec": {"completions": completions}, "status": {}}


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": "why"}}


def reason_of(observed: Observed) -> FailureReason | None:
    status = job_status(observed, JOB, NOW, GRACE_S)
    assert status.outcome is None or status.phase in (Phase.SUCCEEDED, Phase.FAILED)
    return status.outcome.reason if status.outcome else None


CASES: list[tuple[str, Observed, FailureReason]] = [
    ("the Job is not there", Observed(job=None), FailureReason.CHIEF_LOST),
    ("the Job is being deleted", Observed(job=job(deletionTimestamp=at(1))), FailureReason.CHIEF_LOST),
    (
        "the chief says why",
        Observed(job=job(), pods=[pod("chief", ended(74, said(FailureReason.STORAGE_FULL)))]),
        FailureReason.STORAGE_FULL,
    ),
    (
        "the chief says why although the Job has failed already",
        Observed(
            job=job(60, failed("BackoffLimitExceeded")),
            pods=[pod("chief", ended(78, said(FailureReason.CONFIG_INVALID)))],
        ),
        FailureReason.CONFIG_INVALID,
    ),
    ("killed without a word", Observed(job=job(), pods=[pod("chief", ended(137))]), FailureReason.CHIEF_LOST),
    ("a crash without a word", Observed(job=job(), pods=[pod("chief", ended(1))]), FailureReason.CHIEF_LOST),
    ("an exit code alone", Observed(job=job(), pods=[pod("chief", ended(65))]), FailureReason.DATA_INVALID),
    (
        "another job's word",
        Observed(job=job(), pods=[pod("chief", ended(77, said(job_id="x")))]),
        FailureReason.PERMISSION_DENIED,
    ),
    ("success without a word", Observed(job=job(), pods=[pod("chief", ended(0))]), FailureReason.BUG),
    (
        "out of memory",
        Observed(job=job(), pods=[pod("chief", ended(137, reason="OOMKilled"))]),
        FailureReason.OUT_OF_MEMORY,
    ),
    (
        "its node was taken away",
        Observed(job=job(), pods=[pod("chief", ended(143), conditions=[DISRUPTED])]),
        FailureReason.PREEMPTED,
    ),
    (
        "its node vanished before the container's end was seen",
        Observed(job=job(), pods=[pod("chief", RUNNING, phase="Failed", conditions=[DISRUPTED])]),
        FailureReason.PREEMPTED,
    ),
    (
        "evicted",
        Observed(job=job(), pods=[pod("chief", None, phase="Failed", reason="Evicted")]),
        FailureReason.CHIEF_LOST,
    ),
    ("the pod is gone", Observed(job=job(60, failed("BackoffLimitExceeded"))), FailureReason.CHIEF_LOST),
    ("the deadline", Observed(job=job(60, failed("DeadlineExceeded"))), FailureReason.RESOURCE_EXHAUSTED),
    (
        "the chief saw workers vanish, their pods know why",
        Observed(
            job=job(),
            pods=[
                pod("chief", ended(69, said(FailureReason.WORKERS_LOST))),
                pod("worker", ended(137, reason="OOMKilled")),
            ],
        ),
        FailureReason.OUT_OF_MEMORY,
    ),
    (
        "the chief waited for workers that got no node",
        Observed(
            job=job(),
            pods=[pod("chief", ended(69, said(FailureReason.WORKERS_LOST))), pod("worker", conditions=[UNSCHEDULABLE])],
        ),
        FailureReason.RESOURCE_EXHAUSTED,
    ),
    (
        "workers vanished, and nobody knows why",
        Observed(
            job=job(), pods=[pod("chief", ended(69, said(FailureReason.WORKERS_LOST))), pod("worker", ended(137))]
        ),
        FailureReason.WORKERS_LOST,
    ),
    (
        "a worker without memory ends the attempt",
        Observed(job=job(), pods=[pod("chief", RUNNING), pod("worker", ended(137, reason="OOMKilled"))]),
        FailureReason.OUT_OF_MEMORY,
    ),
    (
        "a worker's final word ends the attempt",
        Observed(
            job=job(),
            worker_job=worker_job() | {"status": {"conditions": [failed("PodFailurePolicy", "exit code 78")]}},
            pods=[pod("chief", RUNNING), pod("worker", ended(78, said(FailureReason.CONFIG_INVALID)))],
        ),
        FailureReason.CONFIG_INVALID,
    ),
    (
        "a worker's final exit code ends the attempt",
        Observed(
            job=job(),
            worker_job=worker_job() | {"status": {"conditions": [failed("PodFailurePolicy")]}},
            pods=[pod("chief", RUNNING), pod("worker", ended(65))],
        ),
        FailureReason.DATA_INVALID,
    ),
    (
        "no image",
        Observed(job=job(), pods=[pod("chief", waiting("ImagePullBackOff"))]),
        FailureReason.RESOURCE_EXHAUSTED,
    ),
    (
        "no such image name",
        Observed(job=job(), pods=[pod("chief", waiting("InvalidImageName"))]),
        FailureReason.CONFIG_INVALID,
    ),
    (
        "no node within the grace",
        Observed(job=job(), pods=[pod("chief", None, 601, conditions=[UNSCHEDULABLE])]),
        FailureReason.RESOURCE_EXHAUSTED,
    ),
    (
        "a Secret that does not come",
        Observed(job=job(), pods=[pod("chief", waiting("CreateContainerConfigError"), 601)]),
        FailureReason.PERMISSION_DENIED,
    ),
    (
        "a Secret that is gone",
        Observed(
            job=job(),
            pods=[pod("chief", waiting("ContainerCreating"), 61)],
            events=[event("FailedMount", NO_SECRET, "job-1-chief-x")],
        ),
        FailureReason.PERMISSION_DENIED,
    ),
    (
        "quota counts at once",
        Observed(job=job(5), events=[event("FailedCreate", "pods is forbidden: exceeded quota: training")]),
        FailureReason.RESOURCE_EXHAUSTED,
    ),
    (
        "quota for workers counts at once where no group can form",
        Observed(
            job=job(),
            worker_job=worker_job(),
            pods=[pod("chief", RUNNING), pod("worker", RUNNING)],
            events=[event("FailedCreate", "pods is forbidden: exceeded quota: training", "job-1-work")],
        ),
        FailureReason.RESOURCE_EXHAUSTED,
    ),
    (
        "a refused scale-up counts at once",
        Observed(
            job=job(),
            pods=[pod("chief", None, conditions=[UNSCHEDULABLE])],
            events=[event("NotTriggerScaleUp", "max node group size reached", "job-1-chief-x")],
        ),
        FailureReason.RESOURCE_EXHAUSTED,
    ),
    (
        "a scale-up that failed counts at once",
        Observed(
            job=job(),
            pods=[pod("chief", None, conditions=[UNSCHEDULABLE])],
            events=[
                event("TriggeredScaleUp", "pool 0->1", "job-1-chief-x", 50),
                event("FailedScaleUp", "GCE quota exceeded", "job-1-chief-x", 5),
            ],
        ),
        FailureReason.RESOURCE_EXHAUSTED,
    ),
    (
        "scale-up refused for half of the workers",
        Observed(
            job=job(),
            worker_job=worker_job(),
            pods=[pod("chief", RUNNING), pod("worker", RUNNING), pod("worker", None, conditions=[UNSCHEDULABLE])],
            events=[event("FailedScaleUp", "GCE out of resources", "job-1-worker-x")],
        ),
        FailureReason.RESOURCE_EXHAUSTED,
    ),
    (
        "a worker used up its disk",
        Observed(
            job=job(),
            pods=[pod("chief", RUNNING), pod("worker", None, phase="Failed", reason="Evicted", message=DISK)],
        ),
        FailureReason.STORAGE_FULL,
    ),
    (
        "the chief used up its disk",
        Observed(job=job(), pods=[pod("chief", None, phase="Failed", reason="Evicted", message=DISK)]),
        FailureReason.STORAGE_FULL,
    ),
    (
        "a policy forbids the pod",
        Observed(job=job(5), events=[event("FailedCreate", "pods is forbidden: violates PodSecurity")]),
        FailureReason.PERMISSION_DENIED,
    ),
    ("no pod at all", Observed(job=job(601)), FailureReason.RESOURCE_EXHAUSTED),
]


@pytest.mark.parametrize(("observed", "reason"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_why_it_failed(observed: Observed, reason: FailureReason) -> None:
    status = job_status(observed, JOB, NOW, GRACE_S)
    assert status.phase is Phase.FAILED
    assert status.outcome is not None
    assert status.outcome.reason is reason
    assert status.outcome.message
    assert status.evidence


PENDING = [
    ("no pod yet", Observed(job=job(5))),
    ("suspended in a queue", Observed(job={"metadata": {"name": "j"}, "status": {}})),
    (
        "quota was freed",
        Observed(
            job=job(5),
            events=[event("FailedCreate", "exceeded quota", seconds_ago=9), event("SuccessfulCreate", "Created pod")],
        ),
    ),
    (
        "a node comes after all",
        Observed(
            job=job(),
            pods=[pod("chief", None, conditions=[UNSCHEDULABLE])],
            events=[
                event("NotTriggerScaleUp", "backoff after failed scale-up", "job-1-chief-x", 50),
                event("TriggeredScaleUp", "pool 0->1", "job-1-chief-x", 5),
            ],
        ),
    ),
    ("no node yet", Observed(job=job(), pods=[pod("chief", None, 599, conditions=[UNSCHEDULABLE])])),
    ("its image is pulled", Observed(job=job(), pods=[pod("chief", waiting("ContainerCreating"))])),
    (
        "a Secret that a kubelet has not seen yet",
        Observed(
            job=job(),
            pods=[pod("chief", waiting("ContainerCreating"), 59)],
            events=[event("FailedMount", NO_SECRET, "job-1-chief-x")],
        ),
    ),
    (
        "a Secret that came",
        Observed(
            job=job(),
            pods=[pod("chief", waiting("ContainerCreating"), 90)],
            events=[
                event("FailedMount", NO_SECRET, "job-1-chief-x", 60),
                event("Pulling", "Pulling image", "job-1-chief-x", 5),
            ],
        ),
    ),
    ("a Secret may come", Observed(job=job(), pods=[pod("chief", waiting("CreateContainerConfigError"))])),
    ("a pull failed once", Observed(job=job(), pods=[pod("chief", waiting("ErrImagePull"))])),
]


@pytest.mark.parametrize("observed", [c[1] for c in PENDING], ids=[c[0] for c in PENDING])
def test_what_is_waited_for(observed: Observed) -> None:
    status = job_status(observed, JOB, NOW, GRACE_S)
    assert (status.phase, status.ended) == (Phase.PENDING, False)
    assert status.waiting_for


def test_running_and_waiting_for_workers() -> None:
    pods = [pod("chief", RUNNING), pod("worker", RUNNING), pod("worker", conditions=[UNSCHEDULABLE])]
    status = job_status(Observed(job=job(), pods=pods), JOB, NOW, GRACE_S)
    assert status.phase is Phase.RUNNING
    assert status.waiting_for == "1 workers to start (unschedulable: 0/3 nodes)"


def test_fewer_than_half_without_a_node_are_the_chief_s_business() -> None:
    workers = [pod("worker", RUNNING), pod("worker", RUNNING), pod("worker", None, conditions=[UNSCHEDULABLE])]
    events = [event("NotTriggerScaleUp", "max node group size reached", "job-1-worker-x")]
    observed = Observed(job=job(), worker_job=worker_job(3), pods=[pod("chief", RUNNING), *workers], events=events)
    assert reason_of(observed) is None


def test_a_replacement_that_is_late_is_not_one_that_is_refused() -> None:
    events = [
        event("FailedCreate", "pods is forbidden: exceeded quota: training", "job-1-work", 300),
        event("SuccessfulCreate", "Created pod: job-1-work-1-x", "job-1-work", 200),
    ]
    pods = [pod("chief", RUNNING), pod("worker", RUNNING), pod("worker", ended(137))]
    assert reason_of(Observed(job=job(), worker_job=worker_job(), pods=pods, events=events)) is None


def test_a_failed_worker_alone_is_the_chief_s_business() -> None:
    pods = [pod("chief", RUNNING), pod("worker", ended(137))]
    over = worker_job() | {"status": {"conditions": [failed("MaxFailedIndexesExceeded")]}}
    assert reason_of(Observed(job=job(), worker_job=over, pods=pods)) is None


@pytest.mark.parametrize("role", ["chief", "evaluate"])
def test_success_is_what_the_pod_says(role: str) -> None:
    word = said(last_round=60, result_uri="gs://a/result.json", manifest_uri="gs://c/m.json")
    status = job_status(Observed(job=job(), pods=[pod(role, ended(0, word))]), JOB, NOW, GRACE_S)
    assert status.phase is Phase.SUCCEEDED
    assert status.outcome == Outcome.from_json(word)


def test_success_with_a_failing_exit_code_is_not_believed() -> None:
    assert reason_of(Observed(job=job(), pods=[pod("chief", ended(1, said()))])) is FailureReason.CHIEF_LOST


def test_the_last_round_and_the_manifest_are_kept_when_workers_are_blamed() -> None:
    word = said(FailureReason.WORKERS_LOST, last_round=300, manifest_uri="gs://c/m.json")
    observed = Observed(job=job(), pods=[pod("chief", ended(69, word)), pod("worker", ended(1, reason="OOMKilled"))])
    outcome = job_status(observed, JOB, NOW, GRACE_S).outcome
    assert outcome == replace(
        Outcome.from_json(word),
        reason=FailureReason.OUT_OF_MEMORY,
        message="job-1-worker-x used more memory than its limit",
    )


def test_the_newest_chief_pod_counts() -> None:
    pods = [pod("chief", ended(137), 120), pod("chief", RUNNING, 10)]
    assert job_status(Observed(job=job(), pods=pods), JOB, NOW, GRACE_S).phase is Phase.RUNNING
