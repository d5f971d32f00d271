"""The Job controller as a pure function: (Job, its pods, now) to a new status and what to do about pods.

Semantics of batch/v1 in Kubernetes 1.33: Indexed completion, back-off limits of the Job and of an index, failed index
limit, pod failure policy, suspension, active deadline, replacement back-off.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
MAX_BACKOFF_S = 360.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the controller wants: the Job's new status, pods to create (by index, with failures so far), to delete."""

    status: Object
    create: Sequence[tuple[int | None, int]] = ()
    delete: Sequence[str] = ()
    wake_s: float | None = None
    events: Sequence[tuple[str, str]] = ()


@dataclass
class _Count:
    """Pods of one index, or of a Job without indexes."""

    active: list[Object] = field(default_factory=list)
    succeeded: int = 0
    failures: int = 0
    ignored: int = 0
    failed_by_policy: bool = False
    last_failure: float = 0.0


def decide(job: Object, pods: Sequence[Object], now: float, backoff_s: float) -> Decision:
    """One look at a Job. ``now`` is seconds since the epoch, ``backoff_s`` the first replacement's delay."""
    spec, status = job["spec"], dict(job.get("status") or {})
    if _ended(status):
        return Decision(status=status, delete=[p["metadata"]["name"] for p in pods if _active(p)])
    if spec.get("suspend"):
        status = _condition(status, "Suspended", "JobSuspended", "Job suspended", now)
        status.pop("startTime", None)
        return Decision(status=status | {"active": 0}, delete=[p["metadata"]["name"] for p in pods if _active(p)])
    status["conditions"] = [c for c in status.get("conditions", []) if c["type"] != "Suspended"]
    status.setdefault("startTime", _stamp(now))
    counts, job_failure = _counted(spec, pods)
    failure = job_failure or _failure(spec, status, counts, now)
    return _act(spec, status, counts, failure, _Clock(now, backoff_s))


@dataclass(frozen=True, slots=True)
class _Clock:
    now: float
    backoff_s: float


def _counted(spec: Object, pods: Sequence[Object]) -> tuple[dict[int | None, _Count], tuple[str, str] | None]:
    indexed = spec.get("completionMode") == "Indexed"
    indexes: list[int | None] = list(range(spec.get("completions") or 1)) if indexed else [None]
    counts = {i: _Count() for i in indexes}
    job_failure = None
    for pod in pods:
        annotation = (pod["metadata"].get("annotations") or {}).get(INDEX)
        count = counts.get(int(annotation) if indexed and annotation is not None else None)
        if count is None:
            continue
        phase = (pod.get("status") or {}).get("phase")
        if phase == "Succeeded":
            count.succeeded += 1
        elif phase == "Failed":
            action, text = _policy(spec, pod)
            if action == "FailJob":
                job_failure = ("PodFailurePolicy", text)
            count.failures += action not in ("Ignore",)
            count.ignored += action == "Ignore"
            count.failed_by_policy |= action == "FailIndex"
            count.last_failure = max(count.last_failure, _finished(pod))
        elif not _gone(pod, spec):
            count.active.append(pod)
    return counts, job_failure


def _act(
    spec: Object, status: Object, counts: Mapping[int | None, _Count], failure: tuple[str, str] | None, clock: _Clock
) -> Decision:
    active = [p for c in counts.values() for p in c.active]
    succeeded = sum(min(c.succeeded, 1) if i is not None else c.succeeded for i, c in counts.items())
    failed_indexes = _failed_indexes(spec, counts)
    done = succeeded >= (spec.get("completions") or 1)
    status |= {
        "active": len(active),
        "ready": sum(1 for p in active if _ready(p)),
        "succeeded": succeeded,
        "failed": sum(c.failures + c.ignored for c in counts.values()),
        "terminating": 0,
    }
    if spec.get("completionMode") == "Indexed":
        status["completedIndexes"] = _ranges([i for i, c in counts.items() if i is not None and c.succeeded])
        if spec.get("backoffLimitPerIndex") is not None:
            status["failedIndexes"] = _ranges(failed_indexes)
    settled = len(failed_indexes) + succeeded >= (spec.get("completions") or 1)
    if failure is None and failed_indexes and settled and not active:
        failure = ("FailedIndexes", "Job has failed indexes")
    if failure is not None:
        return _end(status, "FailureTarget", "Failed", failure, active, clock.now)
    if done and not active:
        reached = ("CompletionsReached", "Reached expected number of succeeded pods")
        return _end(status, "SuccessCriteriaMet", "Complete", reached, [], clock.now)
    create, wake = _replacements(spec, counts, failed_indexes, clock)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None:
        left = seconds_of(status["startTime"]) + deadline - clock.now
        wake = min(wake, left) if wake is not None else left
    return Decision(status=status, create=create, wake_s=wake)


def _replacements(
    spec: Object, counts: Mapping[int | None, _Count], failed: Sequence[int], clock: _Clock
) -> tuple[list[tuple[int | None, int]], float | None]:
    create: list[tuple[int | None, int]] = []
    wake: float | None = None
    active = sum(len(c.active) for c in counts.values())
    room: int = spec.get("parallelism", 1) - active
    for index, count in counts.items():
        wanted = 1 if index is not None else (spec.get("completions") or 1)
        missing = wanted - count.succeeded - len(count.active)
        if index in failed or missing <= 0:
            continue
        tries = count.failures + count.ignored
        delay = min(clock.backoff_s * 2 ** (tries - 1), MAX_BACKOFF_S) if tries else 0.0
        left = count.last_failure + delay - clock.now
        if left > 0:
            wake = left if wake is None else min(wake, left)
            continue
        for _ in range(min(missing, max(room, 0))):
            create.append((index, count.failures))
            room -= 1
    return create, wake


def _failure(spec: Object, status: Object, counts: Mapping[int | None, _Count], now: float) -> tuple[str, str] | None:
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and now >= seconds_of(status["startTime"]) + deadline:
        return "DeadlineExceeded", "Job was active longer than specified deadline"
    failures = sum(c.failures for c in counts.values())
    per_index = spec.get("backoffLimitPerIndex")
    limit = spec.get("backoffLimit", 6 if per_index is None else 2**31 - 1)
    if failures > limit:
        return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    allowed = spec.get("maxFailedIndexes")
    if per_index is not None and allowed is not None and len(_failed_indexes(spec, counts)) > allowed:
        return "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
    return None


def _failed_indexes(spec: Object, counts: Mapping[int | None, _Count]) -> list[int]:
    limit = spec.get("backoffLimitPerIndex")
    if limit is None:
        return []
    return [
        i for i, c in counts.items() if i is not None and not c.succeeded and (c.failures > limit or c.failed_by_policy)
    ]


def _policy(spec: Object, pod: Object) -> tuple[str, str]:
    """What the pod failure policy says about a failed pod: action and message."""
    for number, rule in enumerate((spec.get("podFailurePolicy") or {}).get("rules", [])):
        name = pod["metadata"]["name"]
        if "onExitCodes" in rule:
            wanted = rule["onExitCodes"]
            for container in pod["status"].get("containerStatuses") or []:
                code = ((container.get("state") or {}).get("terminated") or {}).get("exitCode")
                inside = code in wanted["values"]
                if code and wanted.get("containerName") in (None, container["name"]):
                    if inside == (wanted["operator"] == "In"):
                        where = f"{pod['metadata'].get('namespace')}/{name}"
                        text = f"Container {container['name']} for pod {where} failed with exit code {code} matching "
                        return rule["action"], f"{text}{rule['action']} rule at index {number}"
        for pattern in rule.get("onPodConditions") or []:
            for condition in pod["status"].get("conditions") or []:
                same = condition["type"] == pattern["type"] and condition["status"] == pattern.get("status", "True")
                if same:
                    text = (
                        f"Pod {name} has condition {condition['type']} matching {rule['action']} rule at index {number}"
                    )
                    return rule["action"], text
    return "Count", ""


def _end(
    status: Object, target: str, final: str, why: tuple[str, str], active: Sequence[Object], now: float
) -> Decision:
    status = _condition(status, target, why[0], why[1], now)
    delete = [p["metadata"]["name"] for p in active]
    if not active:
        status = _condition(status, final, why[0], why[1], now)
        if final == "Complete":
            status["completionTime"] = _stamp(now)
    return Decision(status=status, delete=delete, events=[(why[0], why[1])])


def _condition(status: Object, kind: str, reason: str, message: str, now: float) -> Object:
    conditions = list(status.get("conditions") or [])
    if not any(c["type"] == kind for c in conditions):
        stamp = _stamp(now)
        conditions.append(
            {
                "type": kind,
                "status": "True",
                "reason": reason,
                "message": message,
                "lastProbeTime": stamp,
                "lastTransitionTime": stamp,
            }
        )
    return {**status, "conditions": conditions}


def _ended(status: Object) -> bool:
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in status.get("conditions") or [])


def _active(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in (None, "Pending", "Running")


def _gone(pod: Object, spec: Object) -> bool:
    # podReplacementPolicy Failed waits until a pod that is being deleted has ended.
    return bool(pod["metadata"].get("deletionTimestamp")) and spec.get("podReplacementPolicy") != "Failed"


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _finished(pod: Object) -> float:
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        at = ((container.get("state") or {}).get("terminated") or {}).get("finishedAt")
        if at:
            return seconds_of(at)
    return 0.0


def seconds_of(stamp: str) -> float:
    """A time as Kubernetes writes it, in seconds since the epoch."""
    return datetime.datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.UTC).timestamp()


def _stamp(now: float) -> str:
    return datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ranges(indexes: Sequence[int | None]) -> str:
    numbers = sorted(i for i in indexes if i is not None)
    out: list[list[int]] = []
    for number in numbers:
        if out and number == out[-1][1] + 1:
            out[-1][1] = number
        else:
            out.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in out)
