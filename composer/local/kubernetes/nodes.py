"""Nodes: which one takes a pod, which no longer answers, and which pods are given up with it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from composer.local.kubernetes.jobs import seconds_of
from composer.local.kubernetes.store import Object

UNREACHABLE = "node.kubernetes.io/unreachable"
DEFAULT_TOLERATION_S = 300.0
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
OPERATORS: dict[str, Callable[[str | None, Sequence[str]], bool]] = {
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
}


def choose(pod: Object, nodes: Sequence[Object], pods: Sequence[Object]) -> tuple[str, str]:
    """The node with the fewest pods of those that may take ``pod``; or an empty name, and why there is none."""
    matching = [n for n in nodes if _matches(pod, n)]
    free = [n for n in matching if not any(not _tolerates(pod, t) for t in _taints(n, "NoSchedule", "NoExecute"))]
    if free:
        names = [n["metadata"]["name"] for n in free]
        taken = [p["spec"].get("nodeName") for p in pods if (p.get("status") or {}).get("phase") == "Running"]
        return min(names, key=taken.count), ""
    count = len(nodes)
    unmatched = count - len(matching)
    why = [f"{unmatched} node(s) didn't match Pod's node affinity/selector"] if unmatched else []
    if matching:
        why.append(f"{len(matching)} node(s) had untolerated taint(s)")
    return "", f"0/{count} nodes are available: {', '.join(why)}."


def answers(node: Object | None) -> bool:
    """Whether the node's kubelet talks to the API server."""
    return node is not None and not any(t["key"] == UNREACHABLE for t in _taints(node, "NoExecute"))


def given_up(node: Object, pods: Sequence[Object], now_s: float) -> list[Object]:
    """Pods on ``node`` that have tolerated its silence for as long as they say."""
    taints = [t for t in _taints(node, "NoExecute") if t["key"] == UNREACHABLE]
    if not taints:
        return []
    since = seconds_of(taints[0].get("timeAdded") or node["metadata"]["creationTimestamp"])
    here = [p for p in pods if p["spec"].get("nodeName") == node["metadata"]["name"]]
    live = [p for p in here if not p["metadata"].get("deletionTimestamp")]
    return [p for p in live if now_s - since >= _toleration_s(p)]


def _taints(node: Object, *effects: str) -> list[Object]:
    return [t for t in (node.get("spec") or {}).get("taints") or [] if t.get("effect") in effects]


def _tolerates(pod: Object, taint: Object) -> bool:
    """Whether the pod may be placed on a node with ``taint``; for a while is not enough for that."""
    for toleration in pod["spec"].get("tolerations") or []:
        if toleration.get("effect") not in (None, "", taint["effect"]) or "tolerationSeconds" in toleration:
            continue
        exists = toleration.get("operator") == "Exists"
        if toleration.get("key") in (None, "", taint["key"]) and (
            exists or toleration.get("value", "") == taint.get("value", "")
        ):
            return True
    return False


def _toleration_s(pod: Object) -> float:
    for toleration in pod["spec"].get("tolerations") or []:
        if toleration.get("key") == UNREACHABLE and toleration.get("effect") in (None, "", "NoExecute"):
            return float(toleration.get("tolerationSeconds", float("inf")))
    return DEFAULT_TOLERATION_S


def _matches(pod: Object, node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    if not (pod["spec"].get("nodeSelector") or {}).items() <= labels.items():
        return False
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(REQUIRED)
    terms = (affinity or {}).get("nodeSelectorTerms") or []
    return not terms or any(_term_matches(term, labels) for term in terms)


def _term_matches(term: Object, labels: Object) -> bool:
    return all(
        OPERATORS[e["operator"]](labels.get(e["key"]), e.get("values") or [])
        for e in term.get("matchExpressions") or []
    )
