"""XGBoost: segments on carried margins, collectives over its own tracker, trees appended in the JSON document."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xgboost as xgb
from xgboost import collective
from xgboost.tracker import RabitTracker

from trainer.boosters import Doubles, Floats, Rows, SegmentTrees
from trainer.boosters.metrics import loss_sum
from trainer.boosters.parameters import require_not_owned, unknown
from trainer.contract import Device, FailureReason, Objective, TrainingFailure, TrainingSpec

OBJECTIVES = {
    Objective.ABSOLUTE_ERROR: "reg:absoluteerror",
    Objective.SQUARED_ERROR: "reg:squarederror",
    Objective.BINARY_LOGISTIC: "binary:logistic",
    Objective.MULTICLASS: "multi:softprob",
}


class XgboostTracker:
    """The tracker of one group, which the chief runs; a new one for every group."""

    def __init__(self, host: str, n_workers: int, timeout_s: float) -> None:
        # Rank order decides the order of float sums, so ranks follow the task ids that we give.
        self._tracker = RabitTracker(
            n_workers=n_workers, host_ip=host, sortby="task", timeout=max(1, math.ceil(timeout_s))
        )
        self._tracker.start()
        self.arguments: Mapping[str, Any] = dict(self._tracker.worker_args())

    def close(self) -> None:
        """Free it aside: freeing waits for ranks that may be gone."""

        def free() -> None:
            with contextlib.suppress(Exception):
                self._tracker.free()

        threading.Thread(target=free, daemon=True).start()


class XgboostEngine:
    """See :class:`trainer.boosters.BoosterEngine`."""

    suffix = ".json"

    def assemble(self, documents: Sequence[bytes], rounds: int | None = None) -> bytes:
        """The segments' trees in one model, as UBJSON."""
        if not documents:
            raise TrainingFailure(FailureReason.BUG, "there are no segments to put together")
        whole = json.loads(documents[0])
        model = whole["learner"]["gradient_booster"]["model"]
        for document in documents[1:]:
            _append(model, json.loads(document)["learner"]["gradient_booster"]["model"])
        if rounds is not None:
            _cut(model, rounds)
        model["gbtree_model_param"]["num_trees"] = str(len(model["trees"]))
        booster = xgb.Booster(model_file=bytearray(json.dumps(whole).encode()))
        return bytes(booster.save_raw("ubj"))

    def check_device(self, device: Device) -> None:
        """CUDA needs a wheel that was built with it, and a GPU."""
        if device is Device.CPU:
            return
        if not xgb.build_info().get("USE_CUDA"):
            message = "device cuda: this XGBoost was built without CUDA; install f1-training[gpu], or train on cpu"
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
        try:
            xgb.train({"device": "cuda", "verbosity": 0}, xgb.DMatrix(np.zeros((2, 1)), np.zeros(2)), 1)
        except xgb.core.XGBoostError as e:
            message = f"device cuda: no usable GPU here ({str(e).splitlines()[-1]}); train on cpu"
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e

    def rank_booster(self, spec: TrainingSpec) -> XgboostRank:
        """A booster for one rank."""
        return XgboostRank(spec)

    def start_tracker(self, host: str, n_workers: int, timeout_s: float) -> XgboostTracker:
        """Start a tracker that ranks connect to within ``timeout_s``."""
        return XgboostTracker(host, n_workers, timeout_s)

    def predict(self, model: bytes, features: Floats, threads: int = 1) -> Doubles:
        """Predict with every tree of ``model``."""
        booster = xgb.Booster({"nthread": threads}, model_file=bytearray(model))
        return np.asarray(booster.inplace_predict(features, validate_features=False), dtype=np.float64)

    def libraries(self) -> Mapping[str, str]:
        """XGBoost's version."""
        return {"xgboost": xgb.__version__}


class XgboostRank:
    """See :class:`trainer.boosters.RankBooster`."""

    def __init__(self, spec: TrainingSpec) -> None:
        require_not_owned(spec.params)
        self._spec = spec
        self._params: dict[str, Any] = {
            "tree_method": "hist",
            **spec.params,
            "objective": OBJECTIVES[spec.objective],
            "nthread": spec.threads,
            "device": spec.device.value,
            "disable_default_eval_metric": 1,
            "verbosity": 1,
            "validate_parameters": True,
        }
        if spec.classes:
            self._params["num_class"] = spec.classes
        _require_known(self._params)
        self._context: collective.CommunicatorContext | None = None
        self._train: xgb.QuantileDMatrix | None = None
        self._validation: xgb.DMatrix | None = None
        self._margins: list[Floats] = []

    def join(
        self,
        *,
        rank: int,
        world: int,
        tracker: Mapping[str, Any] | None,
        machines: Sequence[str] | None,  # noqa: ARG002 - LightGBM's way
        timeout_s: float,
    ) -> int:
        """Connect through the tracker."""
        if world == 1:
            return 0
        arguments = {
            **(tracker or {}),
            "dmlc_task_id": f"{rank:04d}",
            "dmlc_timeout": max(1, math.ceil(timeout_s)),
            "dmlc_retry": 3,
        }
        self._context = collective.CommunicatorContext(**arguments)
        self._context.__enter__()
        given = collective.get_rank()
        if given != rank:
            raise TrainingFailure(FailureReason.BUG, f"XGBoost gave rank {given} to rank {rank}")
        return given

    def build(self, train: Rows, validation: Rows, base_score: float) -> None:
        """Build both matrices; every rank builds both, even without rows, as both agree on the columns."""
        names, threads = list(self._spec.features), self._spec.threads
        self._params["base_score"] = base_score
        self._train = xgb.QuantileDMatrix(
            train.features,
            train.target,
            nthread=threads,
            max_bin=int(self._params.get("max_bin", 256)),
            feature_names=names,
        )
        self._validation = xgb.DMatrix(validation.features, validation.target, nthread=threads, feature_names=names)
        start = self._start_margin(base_score)
        shape = (self._spec.classes,) if self._spec.classes else ()
        self._margins = [np.full((len(rows), *shape), start, np.float32) for rows in (train, validation)]

    def restore(self, model: bytes) -> None:
        """Predict all earlier trees again, once."""
        booster = xgb.Booster({"nthread": self._spec.threads, "device": self._spec.device.value})
        booster.load_model(bytearray(model))
        self._margins = [booster.predict(m, output_margin=True) for m in self._matrices()]

    def train_segment(self, *, rounds: int, seed: int, on_round: Callable[[int], None]) -> SegmentTrees:
        """A fresh booster on the carried margins."""
        train, validation = self._matrices()
        for matrix, margin in zip((train, validation), self._margins, strict=True):
            matrix.set_base_margin(margin)
        recorder = _Recorder(self._spec, on_round)
        booster = xgb.train(
            {**self._params, "seed": seed},
            train,
            rounds,
            evals=[(validation, "validation")],
            custom_metric=recorder.measure,
            callbacks=[recorder],
            verbose_eval=False,
        )
        self._margins = [booster.predict(m, output_margin=True) for m in (train, validation)]
        document = bytes(booster.save_raw("json"))
        return SegmentTrees(
            document=document,
            digest=hashlib.sha256(document).hexdigest(),
            validation=tuple(recorder.sums),
            train=loss_sum(self._spec.metric, train.get_label(), self._transformed(self._margins[0])),
        )

    def leave(self) -> None:
        """Leave the communicator."""
        if self._context is not None:
            self._context.__exit__(None, None, None)
            self._context = None

    def _matrices(self) -> tuple[xgb.QuantileDMatrix, xgb.DMatrix]:
        if self._train is None or self._validation is None:
            raise TrainingFailure(FailureReason.BUG, "train before build")
        return self._train, self._validation

    def _start_margin(self, base_score: float) -> float:
        if self._spec.objective is Objective.BINARY_LOGISTIC:
            return math.log(base_score / (1.0 - base_score))
        return base_score

    def _transformed(self, margin: Floats) -> Floats:
        if self._spec.objective is Objective.BINARY_LOGISTIC:
            return np.asarray(1.0 / (1.0 + np.exp(-margin)), np.float32)
        if self._spec.objective is Objective.MULTICLASS:
            powers = np.exp(margin - margin.max(axis=1, keepdims=True)) if len(margin) else margin
            return powers / powers.sum(axis=1, keepdims=True)
        return margin


class _Recorder(xgb.callback.TrainingCallback):
    """Sums this rank's losses a round; the library's own metric would talk to the other ranks each round."""

    def __init__(self, spec: TrainingSpec, on_round: Callable[[int], None]) -> None:
        super().__init__()
        self._spec = spec
        self._on_round = on_round
        self.sums: list[tuple[float, float]] = []

    def measure(self, predicted: Floats, matrix: xgb.DMatrix) -> tuple[str, float]:
        """Record the sums; the value itself is used by nobody."""
        self.sums.append(loss_sum(self._spec.metric, matrix.get_label(), predicted))
        return "recorded", 0.0

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002 - the library's signature
        """Report the round; never stop: that is the chief's decision, at a boundary."""
        self._on_round(epoch + 1)
        return False


def _require_known(params: Mapping[str, Any]) -> None:
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            data = xgb.DMatrix(np.zeros((2, 1)), np.zeros(2))
            xgb.train({**params, "device": "cpu", "base_score": 0.5}, data, 1)
    except (xgb.core.XGBoostError, ValueError) as e:
        lines = [line for line in str(e).splitlines() if line.strip() and not line.startswith(("Stack", "  ["))]
        raise TrainingFailure(FailureReason.CONFIG_INVALID, f"params: {lines[0] if lines else e}") from e
    found = re.search(r"Parameters: \{(.*?)\} are not used", "\n".join(str(w.message) for w in said))
    if found:
        raise unknown(found[1].strip())


def _append(model: dict[str, Any], more: Mapping[str, Any]) -> None:
    base = len(model["trees"])
    for tree in more["trees"]:
        tree["id"] += base
        model["trees"].append(tree)
    model["tree_info"] += more["tree_info"]
    model["iteration_indptr"] += [base + i for i in more["iteration_indptr"][1:]]


def _cut(model: dict[str, Any], rounds: int) -> None:
    starts = model["iteration_indptr"]
    if not 1 <= rounds < len(starts):
        raise TrainingFailure(FailureReason.BUG, f"cannot cut {len(starts) - 1} rounds to {rounds}")
    trees = starts[rounds]
    model["trees"], model["tree_info"] = model["trees"][:trees], model["tree_info"][:trees]
    model["iteration_indptr"] = starts[: rounds + 1]
