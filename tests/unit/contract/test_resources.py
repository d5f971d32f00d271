"""Tiers, machine types and what a pod can have of each."""

import pytest

from trainer.contract import ContractError
from trainer.contract.resources import LADDER, Resources, Tier, check_machine, cpus, memory_bytes


@pytest.mark.parametrize(("tier", "machine_type"), [(r.tier, r.machine_type) for r in LADDER])
def test_a_tier_and_its_machine_type_give_each_other(tier: Tier, machine_type: str) -> None:
    by_tier = Resources(tier=tier, cpu="1", memory="1Gi")
    assert by_tier == Resources(machine_type=machine_type, cpu="1", memory="1Gi")
    assert by_tier == Resources(tier=tier, machine_type=machine_type, cpu="1", memory="1Gi")
    assert (by_tier.tier, by_tier.machine_type) == (tier, machine_type)


def test_a_tier_and_another_machine_type_are_refused_by_both_names() -> None:
    with pytest.raises(
        ContractError, match=r"tier: is 'small', an n1-standard-4, but machine_type is 'n1-standard-8'; give one"
    ):
        Resources(tier=Tier.SMALL, machine_type="n1-standard-8", cpu="1", memory="1Gi")


def test_without_either_pods_go_anywhere() -> None:
    found = Resources(cpu="1", memory="1Gi")
    assert (found.tier, found.machine_type) == (None, "")


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
