"""Whether pods will get a node and their volumes, and whether a node still answers: from events and times. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from f1_training.kubernetes import pods
from f1_training.kubernetes.pods import Object

#: The autoscaler's word on a pod that has no node; the newest counts. Source: "Viewing cluster autoscaler events" in
#: GKE's documentation, and the open source autoscaler, which GKE runs.
NO_NODE = ("NotTriggerScaleUp", "FailedScaleUp")
NODE_COMES = ("TriggeredScaleUp", "Scheduled")
#: A kubelet that lives has reported a pod's end by the time it promised, or soon after.
SILENT_AFTER = timedelta(seconds=30)


def no_node(pod: Object, events: Sequence[Object]) -> str:
    """Why no node will come for ``pod``, by the newest event that says so; empty while one may."""
    last = _newest_about(pod, events, NO_NODE + NODE_COMES)
    return f"{last['reason']}: {last.get('message', '')}" if last and last["reason"] in NO_NODE else ""


def no_volume(pod: Object, events: Sequence[Object]) -> str:
    """Which Secret or ConfigMap that ``pod`` mounts is not there, in the kubelet's words; empty when all are."""
    last = _newest_about(pod, events, ("FailedMount", "Pulling", "Pulled", "Created", "Started"))
    message = str(last.get("message", "")) if last and last["reason"] == "FailedMount" else ""
    return message if "not found" in message else ""


def no_pod(job: Object, events: Sequence[Object]) -> str:
    """Why ``job`` may create no pod, by the newest event that says so; empty when its last pod was created."""
    last = _newest_about(job, events, ("FailedCreate", "SuccessfulCreate"))
    return str(last.get("message", "")) if last and last["reason"] == "FailedCreate" else ""


def over_quota(message: str) -> bool:
    """Whether it was the namespace's quota that refused."""
    return "exceeded quota" in message


def workers_without_node(workers: Sequence[Object], worker_job: Object | None, events: Sequence[Object]) -> list[str]:
    """Why workers have no node or no pod, one line for each that has none for good."""
    if worker_job is None:
        return []
    refused = [f"{pods.name(p)}: {why}" for p in workers if pods.unschedulable(p) and (why := no_node(p, events))]
    why = no_pod(worker_job, events)
    if over_quota(why):
        there = [p for p in workers if not pods.terminated(p)]
        refused += [why] * (int(worker_job["spec"].get("completions", 0)) - len(there))
    return refused


def silent_pods(found: Sequence[Object], now: datetime) -> list[Object]:
    """Pods that should have ended and whose kubelet says nothing: their node is gone, or cut off.

    Such a pod keeps its index taken, so that no replacement is created, until somebody deletes it by force.
    """
    return [pod for pod in found if _is_silent(pod, now)]


def _is_silent(pod: Object, now: datetime) -> bool:
    due = pod["metadata"].get("deletionTimestamp")  # the time by which it is to be gone, its grace included
    if not due or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    return now - datetime.fromisoformat(str(due).replace("Z", "+00:00")) > SILENT_AFTER


def _newest_about(item: Object, events: Sequence[Object], reasons: Sequence[str]) -> Object | None:
    name = item["metadata"]["name"]
    about = [e for e in events if e.get("involvedObject", {}).get("name") == name and e.get("reason") in reasons]
    return max(about, key=_when, default=None)


def _when(event: Object) -> str:
    """When it was last seen, RFC 3339: old and new recorders write it to different fields."""
    series = event.get("series") or {}
    at = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return str(at or event.get("metadata", {}).get("creationTimestamp", ""))
