"""What a pod, or any object with conditions, says about itself: plain JSON as the API gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from f1_training.kubernetes.names import COMPONENT
from f1_training.kubernetes.podspec import Role

Object = Mapping[str, Any]


def name(pod: Object) -> str:
    """Its name."""
    return str(pod["metadata"]["name"])


def role(pod: Object) -> Role | None:
    """What the pod is, None for a stranger's."""
    label = (pod["metadata"].get("labels") or {}).get(COMPONENT)
    return Role(label) if label in tuple(Role) else None


def newest(pods: Sequence[Object]) -> Object | None:
    """The pod that was created last."""
    return max(pods, key=lambda p: str(p["metadata"].get("creationTimestamp")), default=None)


def container(pod: Object) -> Object:
    """The state of its container; empty before there is one."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    state: Object = statuses[0].get("state") or {}
    return state


def terminated(pod: Object) -> Object | None:
    """How its container ended, None before."""
    return container(pod).get("terminated")


def waiting(pod: Object) -> Object:
    """What its container waits for; empty when it does not."""
    found: Object = container(pod).get("waiting") or {}
    return found


def started(pod: Object) -> bool:
    """Whether its container runs."""
    return "running" in container(pod)


def unschedulable(pod: Object) -> str:
    """Why no node takes it; empty when one did, or nobody has tried."""
    found = condition(pod, "PodScheduled", "False")
    return f"unschedulable: {found.get('message', '')}" if found else ""


def disrupted(pod: Object) -> bool:
    """Whether the cluster took it away: preemption, eviction, a node that does not answer."""
    return condition(pod, "DisruptionTarget") is not None


def condition(item: Object, kind: str, status: str = "True") -> Object | None:
    """The condition ``kind`` of an object, when it has ``status``."""
    for one in (item.get("status") or {}).get("conditions") or []:
        if one.get("type") == kind and one.get("status") == status:
            found: Object = one
            return found
    return None
