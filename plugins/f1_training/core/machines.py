"""The ladder of machine types that a model climbs when memory runs out, and what a pod can have of each."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from f1_training.core.quantities import amount
from trainer.contract import ContractError
from trainer.contract.catalogue import Resources

#: What GKE leaves of a node's memory and CPU once kubelet, system and DaemonSets have theirs, rounded down; the
#: smallest first. Source: "Node allocatable resources" in GKE's documentation. The disk fits a boot disk of 100 GB,
#: of which pods get about 45 GB, and holds what fits into half of the memory.
LADDER: Sequence[Resources] = (
    Resources(machine_type="n1-standard-4", cpu="3", memory="10Gi", disk="10Gi"),
    Resources(machine_type="n1-standard-8", cpu="7", memory="24Gi", disk="20Gi"),
    Resources(machine_type="n1-standard-16", cpu="15", memory="49Gi", disk="30Gi"),
    Resources(machine_type="n1-highmem-16", cpu="15", memory="87Gi", disk="40Gi"),
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


def check_machine(resources: Resources) -> None:
    """Refuse a machine type that is not on the ladder, and pods that no node of their type has room for.

    Raises:
        ContractError: naming the field, and what it may be.
    """
    if not resources.machine_type:
        return
    rung = next((r for r in LADDER if r.machine_type == resources.machine_type), None)
    if rung is None:
        known = ", ".join(r.machine_type for r in LADDER)
        fix = f"one of {known}; or empty, then pods go wherever the deployment's node selectors and their size lead"
        raise ContractError("resources.machine_type", f"is {resources.machine_type!r}; {fix}")
    for name, asked, most in (
        ("cpu", cpus(resources.cpu), cpus(rung.cpu)),
        ("memory", memory_bytes(resources.memory), memory_bytes(rung.memory)),
        ("disk", memory_bytes(resources.disk), memory_bytes(rung.disk)),
    ):
        if asked > most:
            problem = f"is {getattr(resources, name)}; of an {rung.machine_type} a pod can have {getattr(rung, name)}"
            raise ContractError(f"resources.{name}", problem)


def next_machine(resources: Resources) -> Resources | None:
    """The next rung above ``resources``, None above the last.

    A machine type that is not on the ladder, or none at all, continues at the first rung with more memory.
    """
    types = [rung.machine_type for rung in LADDER]
    if resources.machine_type in types:
        above = LADDER[types.index(resources.machine_type) + 1 :]
    else:
        above = LADDER
    has = memory_bytes(resources.memory)
    return next((rung for rung in above if memory_bytes(rung.memory) > has), None)
