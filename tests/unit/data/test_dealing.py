"""Shards dealt to workers: each once, fairly, and the same every time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data import deal_shards

splits = st.dictionaries(
    st.sampled_from(["train", "validation", "test"]), st.lists(st.integers(0, 10_000), min_size=1, max_size=40)
)
indices = st.lists(st.integers(0, 20), min_size=1, max_size=10, unique=True)


@given(splits, indices)
def test_every_shard_is_dealt_once(rows: dict[str, list[int]], workers: list[int]) -> None:
    dealt = deal_shards(rows, workers)
    assert list(dealt) == sorted(workers)
    for split, counts in rows.items():
        shards = [shard for one in dealt.values() for shard in one[split]]
        assert sorted(shards) == list(range(len(counts)))
        assert all(one[split] == sorted(one[split]) for one in dealt.values())


@given(splits, indices)
def test_no_two_workers_differ_by_more_than_the_longest_shard(rows: dict[str, list[int]], workers: list[int]) -> None:
    dealt = deal_shards(rows, workers)
    for split, counts in rows.items():
        loads = [sum(counts[s] for s in one[split]) for one in dealt.values()]
        assert max(loads) - min(loads) <= max(counts)


@given(splits, indices)
def test_the_order_of_workers_does_not_matter(rows: dict[str, list[int]], workers: list[int]) -> None:
    assert deal_shards(rows, workers) == deal_shards(rows, sorted(workers, reverse=True))


def test_longest_first_by_hand() -> None:
    dealt = deal_shards({"train": [5, 9, 4, 1], "validation": [0, 0, 0, 0]}, [3, 1])
    assert dealt == {1: {"train": [1, 3], "validation": [0, 2]}, 3: {"train": [0, 2], "validation": [1, 3]}}


@pytest.mark.parametrize("workers", [[], [1, 1]])
def test_impossible_workers_are_refused(workers: list[int]) -> None:
    with pytest.raises(ValueError, match="cannot deal shards"):
        deal_shards({"train": [1]}, workers)
