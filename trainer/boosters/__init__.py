"""The boosting libraries behind one small protocol; a library is imported only when its engine is asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from trainer.contract import Device, Engine, TrainingSpec

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one split on one rank: ``features`` [rows, features] float32 (NaN: missing), ``target`` [rows]."""

    features: Floats
    target: Floats

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentTrees:
    """The trees of one segment, a native model file of the engine, and how well they did.

    ``digest`` is the document's SHA-256; all ranks' agree. ``validation`` has (sum of loss, sum of weight) of this
    rank's validation rows a round, ``train`` the same of its training rows at the end of the segment.
    """

    document: bytes
    digest: str
    validation: tuple[tuple[float, float], ...]
    train: tuple[float, float]


class RankBooster(Protocol):
    """Trains on one rank. ``build`` once, ``restore`` at most once after it, then segment after segment."""

    def join(
        self,
        *,
        rank: int,
        world: int,
        tracker: Mapping[str, Any] | None,
        machines: Sequence[str] | None,
        timeout_s: float,
    ) -> int:
        """Connect to the other ranks; returns the rank that the library gave. One rank alone connects to nothing."""
        ...

    def build(self, train: Rows, validation: Rows, base_score: float) -> None:
        """Build the training matrix; a collective operation."""
        ...

    def restore(self, model: bytes) -> None:
        """Predict all trees of ``model`` again, to the raw scores that training goes on from."""
        ...

    def train_segment(self, *, rounds: int, seed: int, on_round: Callable[[int], None]) -> SegmentTrees:
        """Train ``rounds`` trees on the carried raw scores; ``on_round`` gets the number of rounds done."""
        ...

    def leave(self) -> None:
        """Disconnect from the other ranks."""
        ...


class Tracker(Protocol):
    """What ranks of one group find each other by; ``arguments`` go to each of them."""

    arguments: Mapping[str, Any]

    def close(self) -> None:
        """Stop it; ranks that still wait for it fail."""
        ...


class BoosterEngine(Protocol):
    """One boosting library. ``suffix`` is that of its segment files."""

    suffix: str

    def assemble(self, documents: Sequence[bytes], rounds: int | None = None) -> bytes:
        """One native model of the segments' documents, cut to ``rounds`` boosting rounds. Equal input, equal bytes."""
        ...

    def check_device(self, device: Device) -> None:
        """Raise ``TrainingFailure`` (ConfigInvalid) where the device cannot be used."""
        ...

    def rank_booster(self, spec: TrainingSpec) -> RankBooster:
        """A booster for this rank; refuses wrong parameters by name."""
        ...

    def start_tracker(self, host: str, n_workers: int, timeout_s: float) -> Tracker:
        """Start a tracker on ``host``; only XGBoost has one."""
        ...

    def predict(self, model: bytes, features: Floats, threads: int = 1) -> Doubles:
        """Predictions of the native ``model``: values, probabilities of class 1, or [rows, classes] probabilities."""
        ...

    def libraries(self) -> Mapping[str, str]:
        """Versions of what a model's bytes depend on."""
        ...


@functools.cache
def engine_for(engine: Engine) -> BoosterEngine:
    """The library of ``engine``."""
    if engine is Engine.XGBOOST:
        from trainer.boosters.xgb import XgboostEngine

        return XgboostEngine()
    from trainer.boosters.lgbm import LightgbmEngine

    return LightgbmEngine()


__all__ = ["BoosterEngine", "RankBooster", "Rows", "SegmentTrees", "Tracker", "engine_for"]
