"""XGBoost on one rank: segments on carried margins.

A segment is a fresh booster whose rows start at the margins that all earlier segments reached (``base_margin``). So
its random generators start anew from the segment's seed, which makes a resume exact, and no earlier tree is looked at
again, which makes a boundary cost the same at round 1000 as at round 100. The matrix is built once and kept.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import xgboost
from xgboost import collective

from trainer.boosters.engine import Group, SegmentTrees
from trainer.boosters.metrics import loss_of_raw
from trainer.boosters.peers import is_about_peers
from trainer.boosters.xgb import library_params, message_of
from trainer.contract import FailureReason, Objective, TrainingFailure, TrainingSpec
from trainer.data.rows import Rows

Margins = npt.NDArray[np.float32]
DEFAULT_MAX_BIN = 256
CONNECT_ATTEMPTS = 3


class XgboostRank:
    """See :class:`trainer.boosters.RankBooster`."""

    def __init__(self, spec: TrainingSpec) -> None:
        self._spec = spec
        self._params = library_params(spec)
        self._communicator: collective.CommunicatorContext | None = None
        self._matrices: tuple[xgboost.QuantileDMatrix, ...] = ()
        self._margins: tuple[Margins, ...] = ()
        self._truth: npt.NDArray[np.float64] = np.zeros(0)

    def join(self, group: Group) -> None:
        """Connect through the tracker, whose ranks follow the order of task ids."""
        if group.world == 1:
            return
        timeout_s = max(1, math.ceil(group.timeout_s))
        arguments = {
            **(group.tracker or {}),
            "dmlc_task_id": f"{group.rank:04d}",
            "dmlc_timeout": timeout_s,
            "dmlc_retry": CONNECT_ATTEMPTS,
        }
        context = collective.CommunicatorContext(**arguments)
        try:
            context.__enter__()
        except xgboost.core.XGBoostError as e:
            message = f"rank {group.rank} did not reach its peers within {timeout_s} s: {message_of(e)}"
            raise TrainingFailure(FailureReason.NETWORK_PARTITION, message) from e
        self._communicator = context
        given, world = collective.get_rank(), collective.get_world_size()
        if (given, world) != (group.rank, group.world):
            message = f"XGBoost made rank {given} of {world} out of rank {group.rank} of {group.world}"
            raise TrainingFailure(FailureReason.BUG, message)

    def build(self, train: Rows, validation: Rows, base_score: float) -> None:
        """Build the matrices; one of no rows where only others have any, because agreeing on columns is collective."""
        self._params["base_score"] = base_score
        options = {"max_bin": int(self._params.get("max_bin", DEFAULT_MAX_BIN)), "nthread": self._spec.threads}
        has_validation = self._spec.validation_split and self._spec.snapshot.total(self._spec.validation_split)
        splits = (train, validation) if has_validation else (train,)
        first = xgboost.QuantileDMatrix(_Batches(train), **options)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*Empty dataset")
            others = [xgboost.QuantileDMatrix(_Batches(rows), ref=first, **options) for rows in splits[1:]]
        self._matrices = (first, *others)
        # A copy: the rows are mapped from their files, and must not stay mapped for the sake of their target.
        self._truth = validation.target.copy()
        start = _raw(self._spec.objective, base_score)
        columns = (self._spec.classes,) if self._spec.classes else ()
        self._margins = tuple(np.full((len(rows), *columns), start, np.float32) for rows in splits)

    def restore(self, model: bytes, train: Rows, validation: Rows) -> None:
        """Predict all earlier trees from the raw features: another group's matrix may have been cut elsewhere."""
        # On the CPU: the rows are there, and predicting elsewhere builds matrices, which is collective.
        options = {"nthread": self._spec.threads, "device": "cpu"}
        booster = xgboost.Booster(options, model_file=bytearray(model))
        splits = zip((train, validation), self._margins, strict=False)  # margins of validation only where it has rows
        self._margins = tuple(_predicted(booster, rows, like) for rows, like in splits)

    def train_segment(self, *, rounds: int, seed: int, on_round: Callable[[int], bool]) -> SegmentTrees:
        """A fresh booster on the carried margins."""
        for matrix, margin in zip(self._matrices, self._margins, strict=True):
            matrix.set_base_margin(margin)
        self._margins = ()  # the matrices have them now
        # Not xgboost.train(): it ends by dropping the margins that the booster holds, which are carried on from here.
        booster = xgboost.Booster({**self._params, "seed": seed}, self._matrices)
        sums = []
        for number in range(rounds):
            self._update(booster, number)
            sums.append(self._validation_loss(booster))
            if not on_round(number + 1):
                break
        self._margins = tuple(booster.predict(matrix, output_margin=True) for matrix in self._matrices)
        document = bytes(booster.save_raw("ubj"))
        return SegmentTrees(
            document=document,
            digest=hashlib.sha256(document).hexdigest(),
            validation=tuple(sums),
            train=loss_of_raw(self._spec.metric, self._matrices[0].get_label(), self._margins[0]),
        )

    def leave(self) -> None:
        """Leave the communicator; peers may be gone."""
        context, self._communicator = self._communicator, None
        if context is not None:
            context.__exit__(None, None, None)

    def _update(self, booster: xgboost.Booster, number: int) -> None:
        try:
            booster.update(self._matrices[0], number)
        except xgboost.core.XGBoostError as e:
            if self._communicator is not None and is_about_peers(str(e)):
                raise TrainingFailure(FailureReason.NETWORK_PARTITION, f"lost its peers: {message_of(e)}") from e
            raise

    def _validation_loss(self, booster: xgboost.Booster) -> tuple[float, float]:
        # XGBoost's own metrics would talk to the other ranks. Only the new trees are predicted: the rest is cached.
        if len(self._matrices) == 1 or not len(self._truth):
            return 0.0, 0.0
        margin = booster.predict(self._matrices[1], output_margin=True)
        return loss_of_raw(self._spec.metric, self._truth, margin)


class _Batches(xgboost.DataIter):
    """Feeds a matrix batch by batch, so that the rows are never in memory all at once beside it.

    Arrow columns, because XGBoost sketches and bins them in two thirds of the time that rows of numbers take.
    """

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self._rows = rows
        self.reset()

    def reset(self) -> None:
        """Start again; XGBoost goes through the rows several times."""
        self._batches = self._rows.tables()
        self._done = 0

    def next(self, input_data: Callable[..., None]) -> bool:
        """Hand over one batch; False when there is none left."""
        features = next(self._batches, None)
        if features is None:
            return False
        target = self._rows.target[self._done : self._done + len(features)]
        self._done += len(features)
        input_data(data=features, label=target)
        return True


def _raw(objective: Objective, base_score: float) -> float:
    if objective is Objective.BINARY_LOGISTIC:
        return math.log(base_score / (1.0 - base_score))
    return base_score


def _predicted(booster: xgboost.Booster, rows: Rows, like: Margins) -> Margins:
    """Margins of ``rows``, shaped as ``like``. Trees are added in their order, as training added them."""
    margins = np.empty_like(like)
    done = 0
    for features in rows.batches():
        predicted = booster.inplace_predict(features, predict_type="margin", validate_features=False)
        margins[done : done + len(features)] = predicted
        done += len(features)
    return margins
