"""Whether a namespace's quota has room for a job: what the job's pods ask for beside what the quota allows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from trainer.contract.quantities import amount, shown

Object = Mapping[str, Any]

#: Objects that a quota counts, by the kind of manifest.
COUNTED = {
    "Job": ("count/jobs.batch",),
    "Secret": ("count/secrets", "secrets"),
    "Service": ("count/services", "services"),
}


def wanted(manifests: Iterable[Object]) -> dict[str, Decimal]:
    """What ``manifests`` ask for while all their pods run, in the words of a ResourceQuota."""
    total: Counter[str] = Counter()
    sums: dict[str, Decimal] = {}
    for manifest in manifests:
        total.update(COUNTED.get(manifest["kind"], ()))
        if manifest["kind"] == "Job":
            count = int(manifest["spec"]["parallelism"])
            total["pods"] += count
            for name, each in of_pod(manifest["spec"]["template"]["spec"]).items():
                sums[name] = sums.get(name, Decimal(0)) + count * each
    counted = {name: Decimal(number) for name, number in total.items()}
    return {**counted, "count/pods": counted.get("pods", Decimal(0)), **sums}


def of_pod(spec: Object) -> dict[str, Decimal]:
    """What one pod asks for; a request is also counted under its bare name, as quotas may say ``cpu`` alone."""
    sums: dict[str, Decimal] = {}
    for container in spec["containers"]:
        resources = container.get("resources") or {}
        for kind in ("requests", "limits"):
            for name, quantity in (resources.get(kind) or {}).items():
                names = [f"{kind}.{name}"]
                if kind == "requests":
                    names.append(name)
                elif name not in (resources.get("requests") or {}):
                    names += [f"requests.{name}", name]  # a limit without a request is one
                for each in names:
                    sums[each] = sums.get(each, Decimal(0)) + amount(quantity)
    return sums


def shortfalls(quotas: Sequence[Object], asked: Mapping[str, Decimal], *, free: bool) -> list[str]:
    """What ``quotas`` do not allow of ``asked``, one line each; with ``free``, beside what is in use now.

    Quotas with a scope are left out: whether they count for a pod is the cluster's to say.
    """
    found = []
    for quota in quotas:
        spec = quota.get("spec") or {}
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue
        in_use = (quota.get("status") or {}).get("used") or {}
        for name, hard in sorted((spec.get("hard") or {}).items()):
            used = amount(in_use.get(name, 0)) if free else Decimal(0)
            if name in asked and asked[name] > amount(hard) - used:
                beside = f" and {shown(used)} is in use" if used else ""
                what = f"{name} {shown(asked[name])} is asked for"
                found.append(f"quota {quota['metadata']['name']!r}: {what}, {hard} is allowed{beside}")
    return found
