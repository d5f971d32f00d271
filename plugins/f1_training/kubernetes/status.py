"""What became of a job: from observed objects (plain JSON, as the API gives them) to a :class:`JobStatus`. Pure.

Evidence is asked in this order: what the pod said itself (the outcome in its termination message), how its container
ended, what happened to the pod, what the Job says, and why nothing could start.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from f1_training.kubernetes import pods, scheduling
from f1_training.kubernetes.pods import Object
from f1_training.kubernetes.podspec import MAIN_ROLES, Role
from trainer.contract import ContractError, FailureReason, Outcome

#: What an exit code alone means; every other code is a chief that ended without a word.
REASONS_BY_EXIT_CODE: Mapping[int, FailureReason] = {
    65: FailureReason.DATA_INVALID,
    69: FailureReason.CHIEF_LOST,
    70: FailureReason.BUG,
    71: FailureReason.OUT_OF_MEMORY,
    74: FailureReason.STORAGE_FULL,
    75: FailureReason.PREEMPTED,
    77: FailureReason.PERMISSION_DENIED,
    78: FailureReason.CONFIG_INVALID,
}
#: Why a container does not start, where waiting longer will not help.
REASONS_BY_WAITING: Mapping[str, FailureReason] = {
    "ImagePullBackOff": FailureReason.RESOURCE_EXHAUSTED,
    "ErrImageNeverPull": FailureReason.RESOURCE_EXHAUSTED,
    "InvalidImageName": FailureReason.CONFIG_INVALID,
    "RunContainerError": FailureReason.CONFIG_INVALID,
}
#: The same, given time: a Secret or ConfigMap may come a moment later than the pod.
REASONS_BY_WAITING_LONG: Mapping[str, FailureReason] = {
    "CreateContainerConfigError": FailureReason.PERMISSION_DENIED,
}

#: A Secret is created before the pods that mount it, and seen by every kubelet within this long.
MOUNT_S = 60.0


class Phase(enum.StrEnum):
    """Where a job is."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """What the API server knows about one attempt. ``job`` is its main Job, None when it is not there."""

    job: Object | None
    worker_job: Object | None = None
    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStatus:
    """Where a job is. ``outcome`` is there once it has ended; ``evidence`` says what that was concluded from."""

    phase: Phase
    outcome: Outcome | None = None
    evidence: tuple[str, ...] = ()
    waiting_for: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.outcome is not None


def job_status(observed: Observed, job_id: str, now: datetime, grace_s: float) -> JobStatus:
    """The status of an attempt.

    Args:
        observed: the attempt's objects.
        job_id: whose outcome is believed; another's in a termination message is not.
        now: the time, in UTC.
        grace_s: how long pods may wait for a node.
    """
    if observed.job is None or observed.job["metadata"].get("deletionTimestamp"):
        gone = "the Job was deleted" if observed.job else "the Job is not there"
        return _failed(job_id, FailureReason.CHIEF_LOST, f"{gone}; somebody deleted it, or its node pool went", [gone])
    main = pods.newest([p for p in observed.pods if pods.role(p) in MAIN_ROLES])
    workers = [p for p in observed.pods if pods.role(p) is Role.WORKER]
    ended = pods.terminated(main) if main else None
    if main and ended is not None:
        return _from_end(main, ended, workers, job_id)
    fatal = _fatal_worker(workers, observed.worker_job, job_id) or _too_few_nodes(workers, observed, job_id)
    if fatal is not None:
        return fatal
    if main and (main.get("status") or {}).get("phase") == "Failed":
        return _evicted(main, job_id)
    condition = pods.condition(observed.job, "Failed")
    if condition is not None:
        return _from_condition(condition, job_id)
    if main and pods.started(main):
        return JobStatus(phase=Phase.RUNNING, waiting_for=_waiting_workers(workers))
    return _not_started(main, observed, job_id, _waited_s(observed.job, main, now), grace_s)


def _from_end(pod: Object, ended: Object, workers: Sequence[Object], job_id: str) -> JobStatus:
    said = _outcome(ended, job_id)
    code = int(ended.get("exitCode", 0))
    evidence = [f"{pods.name(pod)} ended with exit code {code}{_because(ended)}"]
    if said is not None and said.succeeded and code == 0:
        return JobStatus(phase=Phase.SUCCEEDED, outcome=said, evidence=tuple(evidence))
    if said is not None and said.reason is not None:
        return _blamed_on_workers(said, workers, evidence)
    if pods.disrupted(pod):
        return _failed(job_id, FailureReason.PREEMPTED, f"the node of {pods.name(pod)} was taken away", evidence)
    if ended.get("reason") == "OOMKilled":
        return _failed(
            job_id, FailureReason.OUT_OF_MEMORY, f"{pods.name(pod)} used more memory than its limit", evidence
        )
    if code == 0:
        message = f"{pods.name(pod)} ended without saying how; does the image hold another version of the trainer?"
        return _failed(job_id, FailureReason.BUG, message, evidence)
    reason = REASONS_BY_EXIT_CODE.get(code, FailureReason.CHIEF_LOST)
    return _failed(job_id, reason, f"{pods.name(pod)} ended with exit code {code} and without a word", evidence)


def _blamed_on_workers(said: Outcome, workers: Sequence[Object], evidence: list[str]) -> JobStatus:
    """The chief's own word, unless it only saw workers vanish and their pods know why."""
    lines = [*evidence, *(f"{pods.name(p)}: {_how(p)}" for p in workers if _how(p))]
    reason, message = said.reason, said.message
    if reason is FailureReason.WORKERS_LOST:
        starved = [p for p in workers if (pods.terminated(p) or {}).get("reason") == "OOMKilled"]
        unplaced = [p for p in workers if pods.unschedulable(p)]
        if starved:
            reason, message = FailureReason.OUT_OF_MEMORY, f"{pods.name(starved[0])} used more memory than its limit"
        elif unplaced:
            reason, message = FailureReason.RESOURCE_EXHAUSTED, f"no node for {len(unplaced)} workers: {said.message}"
    outcome = Outcome(
        job_id=said.job_id,
        reason=reason,
        message=message,
        last_round=said.last_round,
        manifest_uri=said.manifest_uri,
        result_uri=said.result_uri,
    )
    return JobStatus(phase=Phase.FAILED, outcome=outcome, evidence=tuple(lines))


def _fatal_worker(workers: Sequence[Object], worker_job: Object | None, job_id: str) -> JobStatus | None:
    """What a worker's end alone decides, while the chief still waits: no memory, or what no other try will change."""
    for pod in workers:
        ended = pods.terminated(pod)
        if ended and ended.get("reason") == "OOMKilled":
            evidence = [f"{pods.name(pod)}: {_how(pod)}"]
            message = f"{pods.name(pod)} used more memory than its limit"
            return _failed(job_id, FailureReason.OUT_OF_MEMORY, message, evidence)
        if _used_up_its_disk(pod):
            return _evicted(pod, job_id)
    condition = pods.condition(worker_job, "Failed") if worker_job else None
    if condition is None or condition.get("reason") != "PodFailurePolicy":
        return None
    evidence = [f"the worker Job failed: {condition.get('message', '')}"]
    for pod in workers:
        said = _outcome(pods.terminated(pod) or {}, job_id)
        if said is not None and said.reason is not None:
            return _failed(job_id, said.reason, f"{pods.name(pod)}: {said.message}", evidence)
    for pod in workers:
        code = int((pods.terminated(pod) or {}).get("exitCode", 0))
        if code in REASONS_BY_EXIT_CODE:
            return _failed(
                job_id, REASONS_BY_EXIT_CODE[code], f"{pods.name(pod)} ended with exit code {code}", evidence
            )
    return _failed(job_id, FailureReason.BUG, evidence[0], evidence)


def _too_few_nodes(workers: Sequence[Object], observed: Observed, job_id: str) -> JobStatus | None:
    """Half of the workers or more will get no node: no group can form, so there is nothing to wait for."""
    refused = scheduling.workers_without_node(workers, observed.worker_job, observed.events)
    if observed.worker_job is None or not refused:
        return None
    count = int(observed.worker_job["spec"]["completions"])
    if len(refused) * 2 < count:
        return None
    message = f"no node for {len(refused)} of {count} workers: {refused[0]}"
    return _failed(job_id, FailureReason.RESOURCE_EXHAUSTED, message, sorted(set(refused)))


def _evicted(pod: Object, job_id: str) -> JobStatus:
    status = pod.get("status") or {}
    evidence = [f"{pods.name(pod)} failed: {status.get('reason', 'no reason')} {status.get('message', '')}".rstrip()]
    if _used_up_its_disk(pod):
        return _failed(job_id, FailureReason.STORAGE_FULL, f"{evidence[0]}; raise [resources] disk", evidence)
    reason = FailureReason.PREEMPTED if pods.disrupted(pod) else FailureReason.CHIEF_LOST
    return _failed(job_id, reason, evidence[0], evidence)


def _used_up_its_disk(pod: Object) -> bool:
    """Evicted for its own use, not for its node's: the kubelet says which."""
    status = pod.get("status") or {}
    return status.get("reason") == "Evicted" and "ephemeral local storage usage exceeds" in status.get("message", "")


def _from_condition(condition: Object, job_id: str) -> JobStatus:
    why, message = condition.get("reason", ""), condition.get("message", "")
    evidence = [f"the Job failed: {why} {message}".rstrip()]
    if why == "DeadlineExceeded":
        fix = "the job was active for longer than deadline_s; it resumes from its last checkpoint"
        return _failed(job_id, FailureReason.RESOURCE_EXHAUSTED, fix, evidence)
    if why == "PodFailurePolicy" and "DisruptionTarget" in message:
        return _failed(job_id, FailureReason.PREEMPTED, "the pod was taken away", evidence)
    return _failed(job_id, FailureReason.CHIEF_LOST, "the pod is gone, and nobody saw how it ended", evidence)


def _not_started(pod: Object | None, observed: Observed, job_id: str, waited_s: float, grace_s: float) -> JobStatus:
    overdue = waited_s > grace_s
    if pod is None:
        return _no_pod(observed, job_id, overdue)
    waiting = pods.waiting(pod)
    why, message = waiting.get("reason", ""), waiting.get("message", "")
    reason = REASONS_BY_WAITING.get(why) or (REASONS_BY_WAITING_LONG.get(why) if overdue else None)
    if reason is not None:
        return _failed(job_id, reason, f"{pods.name(pod)} cannot start: {why} {message}", [f"{pods.name(pod)}: {why}"])
    missing = scheduling.no_volume(pod, observed.events)
    if missing and waited_s > MOUNT_S:
        fix = "somebody deleted it; start the run again, a new attempt makes a new one"
        message = f"{pods.name(pod)} cannot start: {missing}; {fix}"
        return _failed(job_id, FailureReason.PERMISSION_DENIED, message, [f"{pods.name(pod)}: {missing}"])
    unplaced = pods.unschedulable(pod)
    refused = scheduling.no_node(pod, observed.events) if unplaced else ""
    if refused:
        message = f"no node comes for {pods.name(pod)}: {refused}"
        return _failed(job_id, FailureReason.RESOURCE_EXHAUSTED, message, [refused])
    if overdue:
        text = unplaced or f"{why} {message}".strip() or "it did not start"
        fix = f"{pods.name(pod)} did not start within {grace_s:.0f} s: {text}"
        return _failed(job_id, FailureReason.RESOURCE_EXHAUSTED, fix, [f"{pods.name(pod)}: {text}"])
    return JobStatus(phase=Phase.PENDING, waiting_for=unplaced or missing or why or f"{pods.name(pod)} to start")


def _no_pod(observed: Observed, job_id: str, overdue: bool) -> JobStatus:
    assert observed.job is not None
    refused = scheduling.no_pod(observed.job, observed.events)
    if scheduling.over_quota(refused):
        return _failed(job_id, FailureReason.RESOURCE_EXHAUSTED, f"no pod may be created: {refused}", [refused])
    if "forbidden" in refused:
        return _failed(job_id, FailureReason.PERMISSION_DENIED, f"no pod may be created: {refused}", [refused])
    if overdue:
        text = refused or "the Job got no pod; is it suspended, or waiting in a queue?"
        return _failed(job_id, FailureReason.RESOURCE_EXHAUSTED, text, [text])
    return JobStatus(phase=Phase.PENDING, waiting_for=refused or "the pod to be created")


def _failed(job_id: str, reason: FailureReason, message: str, evidence: Sequence[str]) -> JobStatus:
    outcome = Outcome(job_id=job_id, reason=reason, message=message)
    return JobStatus(phase=Phase.FAILED, outcome=outcome, evidence=tuple(evidence))


def _waited_s(job: Object, pod: Object | None, now: datetime) -> float:
    """Since when something is waited for: the pod, or the Job's start. A suspended Job in a queue waits for nobody."""
    since = pod["metadata"].get("creationTimestamp") if pod else (job.get("status") or {}).get("startTime")
    if not since:
        return 0.0
    return (now - datetime.fromisoformat(str(since).replace("Z", "+00:00"))).total_seconds()


def _outcome(ended: Object, job_id: str) -> Outcome | None:
    try:
        said = Outcome.from_json(str(ended.get("message", "")))
    except ContractError:
        return None
    return said if said.job_id == job_id else None


def _how(pod: Object) -> str:
    ended = pods.terminated(pod)
    if ended:
        return f"exit code {ended.get('exitCode')}{_because(ended)}"
    return pods.unschedulable(pod)


def _because(ended: Object) -> str:
    reason = ended.get("reason", "")
    return f" ({reason})" if reason and reason not in ("Error", "Completed") else ""


def _waiting_workers(workers: Sequence[Object]) -> str:
    waiting = [p for p in workers if not pods.started(p) and not pods.terminated(p)]
    if not waiting:
        return ""
    why = next((text for text in map(pods.unschedulable, waiting) if text), "")
    return f"{len(waiting)} workers to start{f' ({why})' if why else ''}"
