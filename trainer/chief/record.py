"""What has been trained so far, and its manifest: the state that a checkpoint keeps and a resume brings back."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.boosters import engine_for
from trainer.boosters.metrics import metric_value
from trainer.checkpoints import Found, spec_sha256
from trainer.chief import plan
from trainer.contract import (
    EarlyStopping,
    FailureReason,
    GroupChange,
    GroupMember,
    LineageEvent,
    Manifest,
    SegmentFile,
    TrainingFailure,
    TrainingSpec,
    layout,
)
from trainer.contract.objects import sha256
from trainer.logs import utc_now

LIBRARIES = ("xgboost", "xgboost-cpu", "lightgbm", "distributed", "pyarrow", "numpy")


@functools.cache
def libraries() -> Mapping[str, str]:
    """Versions of what bytes depend on, as installed here."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@dataclass(kw_only=True)
class Record:
    """The training state after the newest boundary. ``round`` and ``segment`` are what comes next."""

    spec: TrainingSpec
    epoch: int
    parent: str
    base_score: float | None = None
    segments: tuple[SegmentFile, ...] = ()
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    history: tuple[float, ...] = ()
    train_history: tuple[float, ...] = ()
    lineage: tuple[LineageEvent, ...] = ()
    group: tuple[GroupMember, ...] = ()
    seed: int = 0

    @classmethod
    def start(cls, spec: TrainingSpec, epoch: int, found: Found) -> Record:
        """The state that ``found`` keeps, or an empty one."""
        manifest = found.manifest
        if manifest is None:
            return cls(spec=spec, epoch=epoch, parent="")
        return cls(
            spec=spec,
            epoch=epoch,
            parent=f"{spec.output.checkpoints.rstrip('/')}/{found.name}",
            base_score=manifest.base_score,
            segments=manifest.segments,
            early_stopping=manifest.early_stopping,
            history=tuple(manifest.history.get(spec.validation_split or "", ())),
            train_history=manifest.train_history,
            lineage=manifest.lineage,
            group=manifest.group,
            seed=manifest.seed,
        )

    @property
    def round(self) -> int:
        """Rounds trained so far."""
        return self.segments[-1].last_round if self.segments else 0

    @property
    def segment(self) -> int:
        """Index of the next segment."""
        return len(self.segments)

    @property
    def pinned_base_score(self) -> float:
        """The base score, once it is known."""
        if self.base_score is None:  # pragma: no cover - loading pins it
            raise TrainingFailure(FailureReason.BUG, "the base score is not pinned yet")
        return self.base_score

    def enter(self, group: tuple[GroupMember, ...], change: GroupChange, detail: str) -> None:
        """``group`` goes on from here; lineage says why."""
        self.group = group
        self.lineage += (
            LineageEvent(change=change, round=self.round, epoch=self.epoch, at=utc_now(), group=group, detail=detail),
        )

    def add_segment(self, ranks: Sequence[Mapping[str, Any]], document: bytes, *, rounds: int, seed: int) -> None:
        """Add a trained segment from the replies of all ``ranks`` in rank order.

        Raises:
            TrainingFailure: ``DataInvalid`` when the metric is not a number.
        """
        first, last = self.round, self.round + rounds
        metric = self.spec.metric
        sums = plan.add_sums([r["validation"] for r in ranks])
        values = tuple(metric_value(metric, total, weight) for total, weight in sums if weight)
        train = plan.add_sums([[r["train"]] for r in ranks])[0]
        self.train_history += (metric_value(metric, *train),)
        self.early_stopping = plan.observe(self.early_stopping, values, first, self.spec.early_stopping_rounds)
        self.history += values
        self.seed = seed
        suffix = engine_for(self.spec.engine).suffix
        self.segments += (
            SegmentFile(
                segment=self.segment,
                first_round=first,
                last_round=last,
                file=layout.segment_file(self.epoch, last, suffix),
                sha256=sha256(document),
                bytes=len(document),
            ),
        )

    def manifest(self, *, finished: bool) -> Manifest:
        """The manifest of the newest boundary."""
        split = self.spec.validation_split
        return Manifest(
            job_id=self.spec.job_id,
            epoch=self.epoch,
            segment=self.segment - 1,
            round=self.round,
            seed=self.seed,
            spec_sha256=spec_sha256(self.spec),
            base_score=self.pinned_base_score,
            segments=self.segments,
            group=self.group,
            libraries=libraries(),
            early_stopping=self.early_stopping,
            history={split: self.history} if split and self.history else {},
            train_history=self.train_history,
            lineage=self.lineage,
            parent=self.parent,
            finished=finished,
            committed_at=utc_now(),
        )
