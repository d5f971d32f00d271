"""ResourceQuotas: what a namespace's pods and objects use, and whether one pod more is admitted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from composer.local.kubernetes.quantities import quantity
from composer.local.kubernetes.store import Object, Store

OBJECTS = {
    "count/jobs.batch": "jobs",
    "count/secrets": "secrets",
    "secrets": "secrets",
    "count/services": "services",
    "services": "services",
}
#: Nothing of these kinds can be made here.
NEVER_USED = ("services.loadbalancers", "services.nodeports")


def is_known(resource: str) -> bool:
    """Whether a quota of ``resource`` is kept here; any other one is refused rather than ignored."""
    base = resource.removeprefix("requests.").removeprefix("limits.")
    counted = (*OBJECTS, *NEVER_USED, "pods", "count/pods", "cpu", "memory", "ephemeral-storage")
    return resource in counted or base in ("cpu", "memory", "ephemeral-storage") or "/" in base


def status(quota: Object, store: Store) -> Object:
    """The ``status`` of ``quota`` as things are."""
    hard = quota["spec"].get("hard") or {}
    used = _used(quota, store)
    return {"hard": dict(hard), "used": {name: _text(used.get(name, 0.0)) for name in hard}}


def refusal(pod: Object, name: str, store: Store) -> str:
    """Why no quota of its namespace admits ``pod``, in the API server's words; empty when it is admitted."""
    asked = _of_pod(pod)
    namespace = pod["metadata"]["namespace"]
    for _, quota in store.list("resourcequotas", namespace):
        hard, used = quota["spec"].get("hard") or {}, _used(quota, store)
        over = [n for n in sorted(hard) if n in asked and used.get(n, 0.0) + asked[n] > quantity(hard[n])]
        if over:
            words = (
                _listed("requested", over, asked),
                _listed("used", over, used),
                _listed("limited", over, {n: quantity(hard[n]) for n in over}),
            )
            return f'pods "{name}" is forbidden: exceeded quota: {quota["metadata"]["name"]}, {", ".join(words)}'
        lacking = [n for n in sorted(hard) if "." in n and n.split(".")[0] in ("requests", "limits") and n not in asked]
        lacking = [n for n in lacking if "/" not in n]  # of GPUs and the like nothing need be said
        if lacking:
            return (
                f'pods "{name}" is forbidden: failed quota: {quota["metadata"]["name"]}: must specify '
                f"{','.join(lacking)} for: {pod['spec']['containers'][0]['name']}"
            )
    return ""


def _used(quota: Object, store: Store) -> dict[str, float]:
    namespace = quota["metadata"]["namespace"]
    live = [p for _, p in store.list("pods", namespace) if not _over(p)]
    used = _sum(_of_pod(p) for p in live)
    return used | {name: float(len(store.list(resource, namespace))) for name, resource in OBJECTS.items()}


def _over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _of_pod(pod: Object) -> dict[str, float]:
    asked = {"pods": 1.0, "count/pods": 1.0}
    parts = []
    for container in pod["spec"]["containers"]:
        resources = container.get("resources") or {}
        limits = resources.get("limits") or {}
        requests = {**limits, **(resources.get("requests") or {})}
        parts.append({f"limits.{n}": quantity(q) for n, q in limits.items()})
        parts.append({f"requests.{n}": quantity(q) for n, q in requests.items()})
        parts.append({n: quantity(q) for n, q in requests.items()})
    return asked | _sum(parts)


def _sum(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for name, number in part.items():
            total[name] = total.get(name, 0.0) + number
    return total


def _listed(word: str, names: Sequence[str], numbers: Mapping[str, float]) -> str:
    return f"{word}: " + ",".join(f"{name}={_text(numbers.get(name, 0.0))}" for name in names)


def _text(number: float) -> str:
    if number % 1:
        return f"{number * 1000:.0f}m"
    for power, suffix in ((3, "Gi"), (2, "Mi")):
        if number >= 1024**power and number % 1024**power == 0:
            return f"{int(number // 1024**power)}{suffix}"
    return str(int(number))
