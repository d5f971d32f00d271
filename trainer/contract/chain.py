"""Which checkpoint to resume from: pure rules over the names in a bucket and the epochs' markers.

A chief takes a run over by creating epoch n+1, whose marker names the manifest it resumes from. An older chief that is
still alive (a zombie) goes on writing below its own epoch, so only the chain of the highest epoch counts: its own
manifests, newest first, else those its marker's parent leads to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from trainer.contract import layout
from trainer.contract.fields import Document, require

MANIFEST_NAME = re.compile(r"epochs/(\d{6})/rounds/(\d{8})/manifest\.json")
MARKER_NAME = re.compile(r"epochs/(\d{6})/epoch\.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch(Document):
    """The marker of a take-over. ``parent`` is the name of the manifest resumed from, empty for a start from nothing.

    ``chief`` is unique to one process, so that of two chiefs that create the same epoch exactly one succeeds.
    """

    KIND: ClassVar[str] = "epoch"

    job_id: str
    epoch: int
    chief: str
    parent: str = ""
    created_at: str = ""

    def __post_init__(self) -> None:
        require(self.epoch >= 1, "epoch", f"is {self.epoch}; 1 or more")
        fits = not self.parent or bool(MANIFEST_NAME.fullmatch(self.parent))
        require(fits, "parent", f"is {self.parent!r}; expected the name of a manifest")


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A manifest that may be resumed from."""

    epoch: int
    round: int

    @property
    def name(self) -> str:
        """The manifest's name below the checkpoints' URI."""
        return layout.manifest(self.epoch, self.round)


def epochs_in(names: Iterable[str]) -> list[int]:
    """The epochs that were taken over, ascending."""
    return sorted(int(m[1]) for m in map(MARKER_NAME.fullmatch, names) if m)


def candidates(names: Iterable[str], markers: Mapping[int, Epoch | None]) -> list[Candidate]:
    """The manifests on the highest epoch's chain, the newest first.

    Args:
        names: every name below the checkpoints' URI.
        markers: the marker of each epoch; None for one that cannot be read (its own manifests count, then the chain of
            the epoch below: the parent that it named is not known).
    """
    listed = [Candidate(epoch=int(m[1]), round=int(m[2])) for m in map(MANIFEST_NAME.fullmatch, names) if m]
    chain: list[Candidate] = []
    epoch, newest = max(markers, default=0), None
    while epoch:
        own = [c for c in listed if c.epoch == epoch and (newest is None or c.round <= newest)]
        chain += sorted(own, key=lambda c: -c.round)
        epoch, newest = _before(epoch, markers)
    return chain


def _before(epoch: int, markers: Mapping[int, Epoch | None]) -> tuple[int, int | None]:
    marker = markers.get(epoch)
    if marker is None:
        return max((e for e in markers if e < epoch), default=0), None
    parent = MANIFEST_NAME.fullmatch(marker.parent)
    # An epoch only ever continues a lower one; anything else would be a loop.
    if not parent or int(parent[1]) >= epoch:
        return 0, None
    return int(parent[1]), int(parent[2])
