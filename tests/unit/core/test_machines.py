"""The ladder that a model climbs when memory runs out."""

import itertools

import pytest

from f1_training.core.machines import LADDER, check_machine, cpus, memory_bytes, next_machine
from trainer.contract import ContractError
from trainer.contract.catalogue import Resources


def test_each_rung_has_more_memory() -> None:
    assert [rung.machine_type for rung in LADDER] == [
        "n1-standard-4",
        "n1-standard-8",
        "n1-standard-16",
        "n1-highmem-16",
    ]
    for lower, higher in itertools.pairwise(LADDER):
        assert next_machine(lower) == higher
        assert memory_bytes(higher.memory) > memory_bytes(lower.memory)
    assert next_machine(LADDER[-1]) is None


@pytest.mark.parametrize(
    ("machine_type", "memory", "expected"),
    [
        ("", "2Gi", "n1-standard-4"),
        ("", "24Gi", "n1-standard-16"),
        ("c3-standard-8", "30Gi", "n1-standard-16"),
        ("n1-standard-4", "30Gi", "n1-standard-16"),
        ("", "87Gi", None),
        ("n1-highmem-16", "1Gi", None),
    ],
)
def test_what_is_not_on_the_ladder_continues_where_there_is_more(
    machine_type: str, memory: str, expected: str | None
) -> None:
    found = next_machine(Resources(machine_type=machine_type, cpu="1", memory=memory))
    assert (found.machine_type if found else None) == expected


@pytest.mark.parametrize(
    ("quantity", "expected"), [("512", 512), ("1.5Gi", 3 * 2**29), ("2G", 2 * 10**9), ("7Ki", 7168)]
)
def test_quantities(quantity: str, expected: int) -> None:
    assert memory_bytes(quantity) == expected


@pytest.mark.parametrize(("cpu", "number"), [("6", 6.0), ("500m", 0.5), ("2.5", 2.5)])
def test_cpus(cpu: str, number: float) -> None:
    assert cpus(cpu) == number


@pytest.mark.parametrize("quantity", ["", "much", "1Gi ", "1gi"])
def test_what_is_no_quantity(quantity: str) -> None:
    with pytest.raises(ContractError, match="memory"):
        memory_bytes(quantity)


@pytest.mark.parametrize("rung", [*LADDER, Resources(cpu="100", memory="1Ti")], ids=lambda r: r.machine_type or "none")
def test_what_a_node_has_room_for_is_taken(rung: Resources) -> None:
    check_machine(rung)


@pytest.mark.parametrize(
    ("resources", "named"),
    [
        (
            Resources(cpu="1", memory="1Gi", machine_type="n1-standard-7"),
            "machine_type: is 'n1-standard-7'; one of n1-",
        ),
        (
            Resources(cpu="4", memory="1Gi", machine_type="n1-standard-4"),
            "cpu: is 4; of an n1-standard-4 a pod can have 3",
        ),
        (Resources(cpu="1", memory="15Gi", machine_type="n1-standard-4"), "memory: is 15Gi; .* can have 10Gi"),
        (Resources(cpu="1", memory="1Gi", disk="80Gi", machine_type="n1-highmem-16"), "disk: is 80Gi; .* have 40Gi"),
    ],
    ids=["unknown", "cpu", "memory", "disk"],
)
def test_a_machine_that_is_not_there_or_too_small_is_named_with_what_there_is(resources: Resources, named: str) -> None:
    with pytest.raises(ContractError, match=named):
        check_machine(resources)
