"""What a checkpoint is: :class:`Manifest`, written last and create-only, so that its existence is the commit.

A checkpoint is incremental: each boundary uploads the trees of its own segment only, as a model file that the library
itself can load, and the manifest lists the files of all segments so far. So a boundary costs the same at round 1000 as
at round 100; the whole booster is put together once, at the end or on resume.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from trainer.contract.fields import Document, require


class GroupChange(enum.StrEnum):
    """Why the group of workers is what it is."""

    STARTED = "started"
    RESUMED = "resumed"
    REGROUPED = "regrouped"
    REJOINED = "rejoined"
    CUT_SHORT = "cut-short"


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentFile:
    """The trees of one segment: rounds ``first_round`` + 1 to ``last_round``, a native model file of the engine."""

    segment: int
    first_round: int
    last_round: int
    file: str
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        require(0 <= self.first_round < self.last_round, "last_round", f"{self.last_round} after {self.first_round}")
        require(len(self.sha256) == 64, "sha256", f"is {self.sha256!r}; 64 hexadecimal digits")


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupMember:
    """One rank: which worker trained it on which logical shards (in order) with how many rows."""

    rank: int
    worker_index: int
    shards: tuple[int, ...]
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LineageEvent:
    """One change of group, at the boundary after ``round``. ``at`` is RFC 3339 in UTC."""

    change: GroupChange
    round: int
    epoch: int
    at: str
    group: tuple[GroupMember, ...]
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyStopping:
    """State of early stopping after the manifest's round: best value so far and its round (1-based; 0: none yet)."""

    best_round: int = 0
    best_value: float | None = None
    stopped: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest(Document):
    """One committed checkpoint.

    ``history`` maps a split to its metric, one value a round, from the first round; ``train_history`` has the training
    split's metric, one value a segment, because it is only measured at boundaries. ``spec_sha256`` identifies the
    spec's training-relevant part: a checkpoint of another spec is refused. ``parent`` is the URI of the manifest that
    this epoch resumed from (empty in the first epoch).
    """

    KIND: ClassVar[str] = "manifest"

    job_id: str
    epoch: int
    segment: int
    round: int
    seed: int
    spec_sha256: str
    base_score: float
    segments: tuple[SegmentFile, ...]
    group: tuple[GroupMember, ...]
    libraries: Mapping[str, str]
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    history: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    train_history: tuple[float, ...] = ()
    lineage: tuple[LineageEvent, ...] = ()
    parent: str = ""
    finished: bool = False
    committed_at: str = ""

    def __post_init__(self) -> None:
        require(self.epoch >= 1, "epoch", f"is {self.epoch}; 1 or more")
        expected = 0
        for index, part in enumerate(self.segments):
            require(part.segment == index, f"segments[{index}].segment", f"is {part.segment}")
            require(
                part.first_round == expected,
                f"segments[{index}].first_round",
                f"is {part.first_round}, expected {expected}",
            )
            expected = part.last_round
        require(self.round == expected, "round", f"is {self.round}, the segments end at {expected}")
        require(
            self.segment == len(self.segments) - 1, "segment", f"is {self.segment} of {len(self.segments)} segments"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingResult(Document):
    """What a finished job produced; written next to the booster as ``result.json``.

    ``rounds`` is the number of rounds in the model (the best round when early stopping found one), ``trained_rounds``
    the number that were trained. ``metrics`` maps a split to the metric at ``rounds``. ``usage`` is the most that a
    training process used: ``peak_memory_bytes``, and ``cpus`` on average over a segment.
    """

    KIND: ClassVar[str] = "training-result"

    job_id: str
    model_type: str
    engine: str
    model_uri: str
    sha256: str
    bytes: int
    rounds: int
    trained_rounds: int
    metric: str
    metrics: Mapping[str, float]
    history: Mapping[str, tuple[float, ...]]
    rows: Mapping[str, int]
    workers: int
    manifest_uri: str
    libraries: Mapping[str, str]
    lineage: tuple[LineageEvent, ...]
    seconds: Mapping[str, float]
    features: tuple[str, ...] = ()
    usage: Mapping[str, float] = field(default_factory=dict)
