"""Deal logical shards to workers so that all train on about as many rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def deal_shards(rows: Mapping[str, Sequence[int]], workers: Sequence[int]) -> dict[int, dict[str, list[int]]]:
    """Every shard of every split to exactly one worker, longest first, to the one with the fewest rows so far.

    Args:
        rows: number of rows of each shard, by split.
        workers: worker indices; ties go to the one with fewer shards, then to the lowest.

    Returns:
        Shards by worker and split, ascending. Empty shards are dealt too: a row that should not be there is found by
        reading, not overlooked. Equal arguments give equal deals, whatever the order of ``workers``.

    Raises:
        ValueError: there is no worker, or one is named twice.
    """
    if not workers or len(set(workers)) != len(workers):
        raise ValueError(f"cannot deal shards to the workers {list(workers)}: one or more different indices are needed")
    dealt: dict[int, dict[str, list[int]]] = {worker: {split: [] for split in rows} for worker in sorted(workers)}
    for split, counts in rows.items():
        load = dict.fromkeys(dealt, 0)
        for shard in sorted(range(len(counts)), key=lambda s: (-counts[s], s)):
            worker = min(load, key=lambda w: (load[w], len(dealt[w][split]), w))
            dealt[worker][split].append(shard)
            load[worker] += counts[shard]
    for splits in dealt.values():
        for shards in splits.values():
            shards.sort()
    return dealt
