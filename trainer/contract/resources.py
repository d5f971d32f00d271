"""What pods request, the machine types that have room for it, and the ladder that a model climbs for more memory."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from trainer.contract.fields import ContractError, require
from trainer.contract.quantities import amount
from trainer.contract.rules import Rule, check_rules

Quantity = Annotated[
    str, Rule(pattern=r"\d+(\.\d+)?(m|k|[MGT]|[KMGT]i)?", called="a Kubernetes quantity such as 500m or 24Gi")
]


class Tier(enum.StrEnum):
    """The size of a model: which machine type its pods run on."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"
    HIGHMEM = "highmem"

    @property
    def machine_type(self) -> str:
        """The machine type of Compute Engine."""
        return MACHINE_TYPES[self]


MACHINE_TYPES = {
    Tier.SMALL: "n1-standard-4",
    Tier.MEDIUM: "n1-standard-8",
    Tier.LARGE: "n1-standard-16",
    Tier.HIGHMEM: "n1-highmem-16",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What a pod requests, and the tier or the machine type that its node pool has.

    Either gives the other; both given must agree. Without them pods go wherever the deployment's node selectors and
    their size lead.

    Args:
        cpu: CPUs that a pod requests, such as 6 or 500m.
        memory: Memory that a pod requests, such as 24Gi.
        disk: Node-local disk: the cache of the worker's shards as Arrow files, and scratch.
        tier: Size of the machine: small is n1-standard-4, medium -8, large -16, highmem n1-highmem-16.
        machine_type: The machine type by its own name, in place of the tier.
    """

    cpu: Quantity
    memory: Quantity
    disk: Quantity = "10Gi"
    tier: Tier | None = None
    machine_type: str = ""

    def __post_init__(self) -> None:
        check_rules(self)
        if self.tier is None:
            found = next((tier for tier, name in MACHINE_TYPES.items() if name == self.machine_type), None)
            object.__setattr__(self, "tier", found)
            return
        wanted = self.tier.machine_type
        both = f"is {self.tier.value!r}, an {wanted}, but machine_type is {self.machine_type!r}; give one of them"
        require(self.machine_type in ("", wanted), "tier", both)
        object.__setattr__(self, "machine_type", wanted)


#: What GKE leaves of a node's memory and CPU once kubelet, system and DaemonSets have theirs, rounded down; the
#: smallest first. Source: "Node allocatable resources" in GKE's documentation. The disk fits a boot disk of 100 GB,
#: of which pods get about 45 GB, and holds what fits into half of the memory.
LADDER: Sequence[Resources] = (
    Resources(tier=Tier.SMALL, cpu="3", memory="10Gi", disk="10Gi"),
    Resources(tier=Tier.MEDIUM, cpu="7", memory="24Gi", disk="20Gi"),
    Resources(tier=Tier.LARGE, cpu="15", memory="49Gi", disk="30Gi"),
    Resources(tier=Tier.HIGHMEM, cpu="15", memory="87Gi", disk="40Gi"),
)


def cpus(quantity: str) -> float:
    """CPUs such as ``6`` or ``500m`` as a number.

    Raises:
        ContractError: it is no quantity.
    """
    return float(_amount("cpu", quantity))


def memory_bytes(quantity: str) -> int:
    """Memory or disk such as ``24Gi`` in bytes.

    Raises:
        ContractError: it is no quantity.
    """
    return int(_amount("memory", quantity))


def _amount(name: str, quantity: str) -> Decimal:
    try:
        return amount(quantity)
    except ValueError as e:
        raise ContractError(name, f"is {quantity!r}; a quantity such as 500m or 24Gi") from e


def check_machine(resources: Resources, path: str = "resources") -> None:
    """Refuse a machine type that is not on the ladder, and pods that no node of their type has room for.

    Raises:
        ContractError: naming the field below ``path``, and what it may be.
    """
    if not resources.machine_type:
        return
    rung = next((r for r in LADDER if r.machine_type == resources.machine_type), None)
    if rung is None:
        known = ", ".join(r.machine_type for r in LADDER)
        fix = f"one of {known}; or empty, then pods go wherever the deployment's node selectors and their size lead"
        raise ContractError(f"{path}.machine_type", f"is {resources.machine_type!r}; {fix}")
    for name, asked, most in (
        ("cpu", cpus(resources.cpu), cpus(rung.cpu)),
        ("memory", memory_bytes(resources.memory), memory_bytes(rung.memory)),
        ("disk", memory_bytes(resources.disk), memory_bytes(rung.disk)),
    ):
        if asked > most:
            problem = f"is {getattr(resources, name)}; of an {rung.machine_type} a pod can have {getattr(rung, name)}"
            raise ContractError(f"{path}.{name}", problem)
