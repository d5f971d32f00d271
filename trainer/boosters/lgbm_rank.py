"""LightGBM on one rank: segments on carried scores.

As for XGBoost, a segment is a fresh booster whose rows start at the scores that all earlier segments reached
(``init_score``), on bins that are made once. The library adds scores as doubles, tree by tree, and predicts in the same
order; the base score is part of the first tree. So what :meth:`LightgbmRank.restore` predicts are the carried scores,
bit for bit.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import math
from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt

# The C API is documented and stable; the Python package offers no way to the network without a booster, nor to scores
# before the objective transforms them.
from lightgbm.basic import _LIB, _safe_call

from trainer.boosters import lgbm_document
from trainer.boosters.engine import Doubles, Group, SegmentTrees
from trainer.boosters.lgbm import library_params
from trainer.boosters.metrics import loss_of_predictions, loss_of_raw
from trainer.boosters.peers import is_about_peers
from trainer.contract import FailureReason, Objective, TrainingFailure, TrainingSpec
from trainer.data.rows import Rows

TRAIN, VALIDATION = 0, 1
# What it has to say before a booster tells it how much to say.
lightgbm.register_logger(logging.getLogger("lightgbm"))


class LightgbmRank:
    """See :class:`trainer.boosters.RankBooster`."""

    def __init__(self, spec: TrainingSpec) -> None:
        self._spec = spec
        self._params = library_params(spec)
        self._connected = False
        self._data: list[lightgbm.Dataset] = []
        self._scores: list[Doubles] = []
        self._truth: npt.NDArray[np.float64] = np.zeros(0)
        self._base_scores: list[float] = []

    def join(self, group: Group) -> None:
        """Connect to the listed machines; the library finds its own rank by its address and port."""
        if group.world == 1:
            return
        machines = list(group.machines or ())
        port = int(machines[group.rank].rpartition(":")[2])
        minutes = max(1, math.ceil(group.timeout_s / 60))  # the library's unit, and its least
        arguments = (ctypes.c_int(port), ctypes.c_int(minutes), ctypes.c_int(group.world))
        try:
            _safe_call(_LIB.LGBM_NetworkInit(",".join(machines).encode(), *arguments))
        except lightgbm.basic.LightGBMError as e:
            message = f"rank {group.rank} did not reach its {group.world - 1} peers at {', '.join(machines)}: {e}"
            raise TrainingFailure(FailureReason.NETWORK_PARTITION, message) from e
        self._connected = True
        self._params |= {"num_machines": group.world, "tree_learner": "data", "pre_partition": True}

    def build(self, train: Rows, validation: Rows, base_score: float) -> None:
        """Bin the rows. Finding the bins is collective; a rank without validation rows has nothing else to build."""
        data = lightgbm.Dataset(train.features, train.target, params=dict(self._params)).construct()
        self._data = [data]
        # A copy: the rows are mapped from their files, and must not stay mapped for the sake of their target.
        self._truth = validation.target.copy()
        if len(validation):
            other = data.create_valid(validation.features, validation.target, params=dict(self._params))
            self._data.append(other.construct())
        train.forget()
        validation.forget()
        start = _raw(self._spec.objective, base_score)
        self._base_scores = [start] * max(self._spec.classes, 1)
        self._scores = [np.full(self._shape(some.num_data()), start) for some in self._data]

    def restore(self, model: bytes, train: Rows, validation: Rows) -> None:
        """Predict all earlier trees from the raw features."""
        booster = lightgbm.Booster(model_str=model.decode())
        self._base_scores = []  # they are in the trees already
        for rows, scores in zip((train, validation), self._scores, strict=False):
            done = 0
            for features in rows.batches():
                predicted = booster.predict(features, raw_score=True, num_threads=self._spec.threads)
                scores[done : done + len(features)] = predicted
                done += len(features)

    def train_segment(self, *, rounds: int, seed: int, on_round: Callable[[int], bool]) -> SegmentTrees:
        """A fresh booster on the carried scores."""
        for data, scores in zip(self._data, self._scores, strict=True):
            data.set_init_score(scores)
        follower = _Follower(self._spec, self._truth, on_round)
        booster = self._train({**self._params, "seed": seed}, rounds, follower)
        document = lgbm_document.segment_document(
            booster.model_to_string(num_iteration=-1),
            trees_after_round=follower.trees,
            base_scores=self._base_scores,
        )
        self._base_scores = []
        if not lgbm_document.is_constant(document):
            # Without an objective the library hands out scores as they are.
            booster.reset_parameter({"objective": "none"})
            self._scores = [self._scores_of(booster, number) for number in range(len(self._data))]
        return SegmentTrees(
            document=document,
            digest=hashlib.sha256(document).hexdigest(),
            validation=tuple(follower.sums),
            train=loss_of_raw(self._spec.metric, self._data[TRAIN].get_label(), self._scores[TRAIN]),
        )

    def leave(self) -> None:
        """Close the sockets."""
        if self._connected:
            self._connected = False
            _safe_call(_LIB.LGBM_NetworkFree())

    def _train(self, params: dict[str, Any], rounds: int, follower: _Follower) -> lightgbm.Booster:
        try:
            return lightgbm.train(
                params,
                self._data[TRAIN],
                rounds,
                valid_sets=self._data[VALIDATION:] or None,
                feval=follower.measure,
                callbacks=[follower.after_round],
                keep_training_booster=True,
            )
        except lightgbm.basic.LightGBMError as e:
            if self._connected and is_about_peers(str(e)):
                raise TrainingFailure(FailureReason.NETWORK_PARTITION, f"lost its peers: {e}") from e
            raise

    def _shape(self, rows: int) -> tuple[int, ...]:
        return (rows, self._spec.classes) if self._spec.classes else (rows,)

    def _scores_of(self, booster: lightgbm.Booster, number: int) -> Doubles:
        scores = np.empty(self._shape(self._data[number].num_data()), order="F")
        length = ctypes.c_int64(0)
        pointer = scores.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
        handle = booster._handle  # noqa: SLF001 - see the import of the C API
        _safe_call(_LIB.LGBM_BoosterGetPredict(handle, ctypes.c_int(number), ctypes.byref(length), pointer))
        if length.value != scores.size:
            raise RuntimeError(f"LightGBM gave {length.value} scores for {scores.size}")
        return scores


class _Follower:
    """Adds up this rank's validation losses each round, and notes the rounds that grew nothing."""

    def __init__(self, spec: TrainingSpec, truth: npt.NDArray[np.float64], on_round: Callable[[int], bool]) -> None:
        self._metric, self._truth, self._on_round = spec.metric, truth, on_round
        self.sums: list[tuple[float, float]] = []
        self.trees: list[int] = []

    def measure(self, predicted: Doubles, data: lightgbm.Dataset) -> tuple[str, float, bool]:  # noqa: ARG002
        """The library's evaluation function; the value it returns is used by nobody."""
        self.sums.append(loss_of_predictions(self._metric, self._truth, predicted))
        return "recorded", 0.0, False

    def after_round(self, environment: lightgbm.callback.CallbackEnv) -> None:
        """The library's callback; stops only when all ranks do, because that is the chief's decision."""
        if not len(self._truth):
            self.sums.append((0.0, 0.0))
        self.trees.append(environment.model.num_trees())
        if not self._on_round(environment.iteration + 1):
            raise lightgbm.callback.EarlyStopException(environment.iteration, [])


def _raw(objective: Objective, base_score: float) -> float:
    if objective is Objective.BINARY_LOGISTIC:
        return math.log(base_score / (1.0 - base_score))
    return 0.0 if objective is Objective.MULTICLASS else base_score
