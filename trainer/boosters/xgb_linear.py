"""XGBoost's linear booster (``booster = "gblinear"``) on the one rank that can train it.

XGBoost does not distribute it: with several ranks each would silently fit its own rows. Its state are the weights, so a
segment goes on from the document of the one before it, and its own document is the whole model so far.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from trainer.boosters.engine import Group, SegmentTrees
from trainer.boosters.metrics import loss_of_raw
from trainer.boosters.xgb import library_params
from trainer.contract import FailureReason, TrainingFailure, TrainingSpec
from trainer.data.rows import Rows

#: The attribute of a document that says how many rounds it has seen.
ROUNDS = "rounds"


class XgboostLinearRank:
    """See :class:`trainer.boosters.RankBooster`."""

    def __init__(self, spec: TrainingSpec) -> None:
        self._spec = spec
        self._params: dict[str, Any] = library_params(spec)
        self._matrices: tuple[xgboost.DMatrix, ...] = ()
        self._truth: npt.NDArray[np.float64] = np.zeros(0)
        self._document = b""

    def join(self, group: Group) -> None:
        """There is nobody to connect to."""
        if group.world != 1:
            raise TrainingFailure(FailureReason.CONFIG_INVALID, f"num_workers: is {group.world}; gblinear takes 1")

    def build(self, train: Rows, validation: Rows, base_score: float) -> None:
        """Plain matrices: a linear model needs the values, not their bins."""
        self._params["base_score"] = base_score
        splits = (train, validation) if len(validation) else (train,)
        self._matrices = tuple(_matrix(rows, self._spec.threads) for rows in splits)
        self._truth = validation.target.copy()

    def restore(self, model: bytes, train: Rows, validation: Rows) -> None:  # noqa: ARG002 - the weights say it all
        """Go on from the weights of ``model``."""
        self._document = model

    def train_segment(self, *, rounds: int, seed: int, on_round: Callable[[int], bool]) -> SegmentTrees:
        """Go on from the last document, which is read again each time: so a resume takes the same way."""
        booster = xgboost.Booster({**self._params, "seed": seed}, self._matrices)
        before = 0
        if self._document:
            booster.load_model(bytearray(self._document))
            booster.set_param({**self._params, "seed": seed})
            before = rounds_of(booster)
        sums, done = [], 0
        for done in range(1, rounds + 1):
            booster.update(self._matrices[0], before + done - 1)
            sums.append(self._loss(booster, 1, self._truth) if len(self._matrices) > 1 else (0.0, 0.0))
            if not on_round(done):
                break
        booster.set_attr(**{ROUNDS: str(before + done)})
        self._document = bytes(booster.save_raw("ubj"))
        return SegmentTrees(
            document=self._document,
            digest=hashlib.sha256(self._document).hexdigest(),
            validation=tuple(sums),
            train=self._loss(booster, 0, self._matrices[0].get_label()),
        )

    def leave(self) -> None:
        """There is nobody to leave."""

    def _loss(self, booster: xgboost.Booster, number: int, truth: npt.NDArray[Any]) -> tuple[float, float]:
        return loss_of_raw(self._spec.metric, truth, booster.predict(self._matrices[number], output_margin=True))


def rounds_of(booster: xgboost.Booster) -> int:
    """How many rounds a linear model has seen."""
    return int(booster.attr(ROUNDS) or 0)


def _matrix(rows: Rows, threads: int) -> xgboost.DMatrix:
    features = np.concatenate(list(rows.batches())) if len(rows) else np.empty((0, 0), np.float32)
    return xgboost.DMatrix(features, rows.target, nthread=threads)
