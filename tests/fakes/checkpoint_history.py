"""Manifests and segments of a run as the tests of checkpoints write them."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.contract import GroupMember, Manifest, SegmentFile, layout
from trainer.contract.objects import sha256

HASH = "5" * 64


def document(epoch: int, boundary: int) -> bytes:
    """The trees of the segment that ends at round ``boundary``."""
    return b"trees of epoch %d, round %d" % (epoch, boundary)


def manifest(epoch: int, boundaries: Sequence[tuple[int, int]], *, finished: bool = False) -> Manifest:
    """``boundaries``: (epoch that wrote it, last round) of each segment."""
    first, parts = 0, []
    for index, (wrote, last) in enumerate(boundaries):
        data = document(wrote, last)
        file = layout.segment_file(wrote, last, ".ubj")
        digest, size = sha256(data), len(data)
        parts.append(
            SegmentFile(segment=index, first_round=first, last_round=last, file=file, sha256=digest, bytes=size)
        )
        first = last
    return Manifest(
        job_id="job",
        epoch=epoch,
        segment=len(parts) - 1,
        round=first,
        seed=1,
        spec_sha256=HASH,
        base_score=0.5,
        segments=tuple(parts),
        group=(GroupMember(rank=0, worker_index=0, shards=(0,), rows=5),),
        libraries={},
        finished=finished,
    )
