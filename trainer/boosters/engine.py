"""What the system asks of a boosting library: :class:`BoosterEngine` of the chief, :class:`RankBooster` of a rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from trainer.contract import Device, TrainingSpec
from trainer.contract.fields import require

if TYPE_CHECKING:
    from trainer.data import Rows

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The ranks that train together, as one of them sees it.

    ``tracker`` are XGBoost's :attr:`Tracker.arguments`; ``machines`` are LightGBM's addresses in rank order. A group of
    one needs neither. ``timeout_s`` bounds how long ranks wait for each other: while they connect, and for XGBoost
    also in each collective operation.
    """

    rank: int = 0
    world: int = 1
    tracker: Mapping[str, Any] | None = None
    machines: Sequence[str] | None = None
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        require(0 <= self.rank < self.world, "rank", f"is {self.rank} in a group of {self.world}")
        if self.machines is not None:
            require(len(self.machines) == self.world, "machines", f"are {len(self.machines)} for {self.world} ranks")


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentTrees:
    """The trees of one segment, as a native model file of the engine, and how well they did.

    ``digest`` is the document's SHA-256 in hexadecimal; all ranks grow the same trees, so theirs agree. ``validation``
    has (sum of loss, sum of weight) of this rank's validation rows, one pair a round; ``train`` the same of its
    training rows at the segment's end. Losses are those of the spec's metric.
    """

    document: bytes
    digest: str
    validation: tuple[tuple[float, float], ...]
    train: tuple[float, float]


class RankBooster(Protocol):
    """Trains on one rank: ``join``, ``build``, ``restore`` when earlier trees exist, then segment after segment.

    All calls come from one thread: XGBoost's communicator belongs to the thread that made it.
    """

    def join(self, group: Group) -> None:
        """Connect to the other ranks.

        Raises:
            TrainingFailure: ``NetworkPartition`` when they cannot be reached in time.
        """
        ...

    def build(self, train: Rows, validation: Rows, base_score: float) -> None:
        """Build the training matrix, once; every rank of the group does it at the same time.

        ``base_score`` is in the target's unit; for classifiers a probability.
        """
        ...

    def restore(self, model: bytes, train: Rows, validation: Rows) -> None:
        """Predict the trees of the assembled ``model`` again, to the very raw scores that training had reached."""
        ...

    def train_segment(self, *, rounds: int, seed: int, on_round: Callable[[int], bool]) -> SegmentTrees:
        """Train at most ``rounds`` rounds on the carried raw scores.

        ``on_round`` gets the number of rounds done so far, and says whether to train another: the same on all ranks.
        """
        ...

    def leave(self) -> None:
        """Disconnect from the other ranks."""
        ...


class Tracker(Protocol):
    """What the ranks of one group find each other by. ``arguments`` (plain JSON) go to each of them."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What :attr:`Group.tracker` takes."""
        ...

    def close(self) -> None:
        """Stop it without waiting; ranks that still wait for it fail."""
        ...


#: From [rows, features] in the order of the model's features, NaN where missing, to values, to probabilities of
#: class 1, or to [rows, classes] probabilities.
Predictor = Callable[[Floats], Doubles]


class BoosterEngine(Protocol):
    """One boosting library. ``suffix`` is that of its model files."""

    suffix: str

    def assemble(self, documents: Sequence[bytes], *, rounds: int | None = None) -> bytes:
        """One native model of the segments' documents in order, cut to ``rounds`` boosting rounds. Pure.

        Raises:
            ValueError: no documents, documents that do not belong together, or fewer than ``rounds`` rounds.
        """
        ...

    def check_device(self, device: Device) -> None:
        """Refuse a device that this machine or this build of the library does not have.

        Raises:
            TrainingFailure: ``ConfigInvalid``.
        """
        ...

    def check_params(self, spec: TrainingSpec) -> None:
        """Refuse parameters that the system owns or the library does not know, before rows are read.

        Raises:
            TrainingFailure: ``ConfigInvalid`` naming ``params.X``.
        """
        ...

    def rank_booster(self, spec: TrainingSpec) -> RankBooster:
        """A booster for one rank of the job."""
        ...

    def load_for_chief(self) -> None:
        """Import what :meth:`start_tracker` needs: it takes seconds, and may be done while there is time."""
        ...

    def start_tracker(self, host: str, n_workers: int, timeout_s: float) -> Tracker:
        """Start the tracker of one group of ``n_workers`` ranks on ``host``, for XGBoost only."""
        ...

    def predict(self, model: bytes, features: Floats, threads: int = 1) -> Doubles:
        """Predictions of the native ``model``, once; see :meth:`predictor`."""
        ...

    def contributions(self, model: bytes, features: Floats, threads: int = 1) -> Doubles:
        """What each feature adds to each prediction: SHAP values of the library itself.

        Returns:
            [rows, features], in the target's unit or in log-odds; of several classes the mean size over them.
        """
        ...

    def predictor(self, model: bytes, threads: int = 1) -> Predictor:
        """The native ``model``, read once, to predict with often.

        Args:
            model: a segment's document or an assembled model.
            threads: how many to use.
        """
        ...
