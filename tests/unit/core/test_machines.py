"""The ladder that a model climbs when memory runs out."""

import itertools

import pytest

from f1_training.core.machines import next_machine
from trainer.contract.resources import LADDER, Resources, memory_bytes


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
