"""The ladder of machine types that a model climbs when memory runs out, and what a pod can have of each."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
QUANTITY = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<suffix>|[kMGT]|[KMGT]i)")
FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def memory_bytes(quantity: str) -> int:
    """A Kubernetes quantity such as ``24Gi`` in bytes.

    Raises:
        ContractError: it is none.
    """
    found = QUANTITY.fullmatch(quantity)
    if found is None:
        raise ContractError("memory", f"is {quantity!r}; a quantity such as 24Gi")
    return int(float(found["number"]) * FACTORS[found["suffix"]])


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
