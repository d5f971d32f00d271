"""LightGBM: segments on carried scores, collectives over plain sockets, trees appended in the model text."""

from __future__ import annotations

import ctypes
import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightgbm as lgb
import numpy as np
from lightgbm.basic import _LIB, _safe_call

from trainer.boosters import Doubles, Floats, Rows, SegmentTrees
from trainer.boosters.metrics import loss_sum
from trainer.boosters.parameters import require_not_owned, unknown
from trainer.contract import Device, FailureReason, Objective, TrainingFailure, TrainingSpec

OBJECTIVES = {
    Objective.ABSOLUTE_ERROR: "regression_l1",
    Objective.SQUARED_ERROR: "regression",
    Objective.BINARY_LOGISTIC: "binary",
    Objective.MULTICLASS: "multiclass",
}
END = "end of trees"


class _Said:
    """LightGBM's log, kept instead of printed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, line: str) -> None:
        """Keep a line."""
        self.lines.append(line)

    warning = info


class LightgbmEngine:
    """See :class:`trainer.boosters.BoosterEngine`."""

    suffix = ".txt"

    def assemble(self, documents: Sequence[bytes], rounds: int | None = None) -> bytes:
        """The segments' trees in one model text, renumbered."""
        if not documents:
            raise TrainingFailure(FailureReason.BUG, "there are no segments to put together")
        head, _, tail = _parts(documents[0].decode())
        trees = [tree for document in documents for tree in _parts(document.decode())[1]]
        if rounds is not None:
            per_round = int(re.search(r"^num_tree_per_iteration=(\d+)$", head, re.MULTILINE)[1])  # type: ignore[index]
            if not 1 <= rounds * per_round <= len(trees):
                raise TrainingFailure(FailureReason.BUG, f"cannot cut {len(trees) // per_round} rounds to {rounds}")
            trees = trees[: rounds * per_round]
        blocks = [f"Tree={number}\n{tree}\n\n\n" for number, tree in enumerate(trees)]
        sizes = " ".join(str(len(block.encode())) for block in blocks)
        head = re.sub(r"^tree_sizes=.*$", f"tree_sizes={sizes}", head, flags=re.MULTILINE)
        return (head + "".join(blocks) + END + tail).encode()

    def check_device(self, device: Device) -> None:
        """The wheel has OpenCL; whether there is a device, only training tells."""
        if device is Device.CPU:
            return
        try:
            data = lgb.Dataset(
                np.random.default_rng(0).normal(size=(200, 2)), np.arange(200.0), params={"verbosity": -1}
            )
            lgb.train({"device_type": device.value, "verbosity": -1, "num_threads": 1}, data, 1)
        except lgb.basic.LightGBMError as e:
            message = f"device {device.value}: LightGBM finds no usable OpenCL device here ({e}); train on cpu"
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e

    def rank_booster(self, spec: TrainingSpec) -> LightgbmRank:
        """A booster for one rank."""
        return LightgbmRank(spec)

    def start_tracker(self, host: str, n_workers: int, timeout_s: float) -> Any:
        """LightGBM's ranks know each other's addresses; there is nothing to start."""
        raise TrainingFailure(FailureReason.BUG, f"LightGBM has no tracker ({host}, {n_workers}, {timeout_s})")

    def predict(self, model: bytes, features: Floats, threads: int = 1) -> Doubles:
        """Predict with every tree of ``model``."""
        booster = lgb.Booster(model_str=model.decode())
        return np.asarray(booster.predict(features, num_threads=threads), dtype=np.float64)

    def libraries(self) -> Mapping[str, str]:
        """LightGBM's version."""
        return {"lightgbm": lgb.__version__}


class LightgbmRank:
    """See :class:`trainer.boosters.RankBooster`."""

    def __init__(self, spec: TrainingSpec) -> None:
        require_not_owned(spec.params)
        self._spec = spec
        self._params: dict[str, Any] = {
            **spec.params,
            "objective": OBJECTIVES[spec.objective],
            "num_threads": spec.threads,
            "device_type": spec.device.value,
            "deterministic": True,
            "force_row_wise": True,
            "metric": "none",
            "verbosity": -1,
        }
        if spec.classes:
            self._params["num_class"] = spec.classes
        _require_known(self._params)
        # The library's own scores are the raw scores only where it does not transform what it predicts.
        self._identity = spec.objective in (Objective.ABSOLUTE_ERROR, Objective.SQUARED_ERROR)
        self._network = False
        self._rows: list[Rows] = []
        self._data: list[lgb.Dataset] = []
        self._scores: list[Doubles] | None = None

    def join(
        self,
        *,
        rank: int,
        world: int,
        tracker: Mapping[str, Any] | None,  # noqa: ARG002 - XGBoost's way
        machines: Sequence[str] | None,
        timeout_s: float,
    ) -> int:
        """Connect to the listed machines; ``machines[rank]`` is this rank's own address."""
        if world == 1:
            return 0
        own = (machines or ())[rank]
        port = int(own.rpartition(":")[2])
        text = ",".join(machines or ())
        minutes = max(1, math.ceil(timeout_s / 60))
        _safe_call(_LIB.LGBM_NetworkInit(text.encode(), ctypes.c_int(port), ctypes.c_int(minutes), ctypes.c_int(world)))
        self._network = True
        self._params |= {"num_machines": world, "tree_learner": "data", "pre_partition": True}
        return rank

    def build(self, train: Rows, validation: Rows, base_score: float) -> None:  # noqa: ARG002 - its own average
        """Build the binned data sets; finding the bins is collective."""
        self._rows = [train, validation]
        names = list(self._spec.features)
        params = {k: v for k, v in self._params.items() if k != "metric"}
        main = lgb.Dataset(train.features, train.target, params=params, feature_name=names, free_raw_data=False)
        main.construct()
        self._data = [main]
        if len(validation):
            # A rank without validation rows has none to measure; the library's metrics are local.
            other = lgb.Dataset(
                validation.features, validation.target, reference=main, params=params, free_raw_data=False
            )
            self._data.append(other.construct())

    def restore(self, model: bytes) -> None:
        """Predict all earlier trees again, tree by tree: sums of doubles depend on their order."""
        booster = lgb.Booster(model_str=model.decode())
        rounds = booster.num_trees() // booster.num_model_per_iteration()
        self._scores = []
        for rows in self._rows[: len(self._data)]:
            total = self._zero(rows)
            for number in range(rounds):
                total += booster.predict(
                    rows.features,
                    raw_score=True,
                    start_iteration=number,
                    num_iteration=1,
                    num_threads=self._spec.threads,
                )
            self._scores.append(total)

    def train_segment(self, *, rounds: int, seed: int, on_round: Callable[[int], None]) -> SegmentTrees:
        """A fresh booster on the carried scores. The first segment starts from the library's own average."""
        if self._scores is not None:
            for data, score in zip(self._data, self._scores, strict=True):
                data.set_init_score(score)
        sums: list[tuple[float, float]] = []

        def measure(predicted: Doubles, data: lgb.Dataset) -> tuple[str, float, bool]:
            shaped = predicted.reshape(len(self._rows[1]), -1) if self._spec.classes else predicted
            sums.append(loss_sum(self._spec.metric, data.get_label(), shaped))
            return "recorded", 0.0, False

        def report(environment: Any) -> None:
            on_round(environment.iteration + 1)

        booster = lgb.train(
            {**self._params, "seed": seed},
            self._data[0],
            rounds,
            valid_sets=self._data[1:],
            valid_names=["validation"] * len(self._data[1:]),
            feval=measure,
            callbacks=[report],
            keep_training_booster=True,
        )
        self._carry(booster, rounds)
        document = _document(booster.model_to_string(num_iteration=-1))
        assert self._scores is not None
        return SegmentTrees(
            document=document,
            digest=hashlib.sha256(document).hexdigest(),
            validation=tuple(sums) or ((0.0, 0.0),) * rounds,
            train=loss_sum(self._spec.metric, self._rows[0].target, self._transformed(self._scores[0])),
        )

    def leave(self) -> None:
        """Close the sockets."""
        if self._network:
            _safe_call(_LIB.LGBM_NetworkFree())
            self._network = False

    def _carry(self, booster: lgb.Booster, rounds: int) -> None:
        if self._identity:
            self._scores = [
                booster._Booster__inner_predict(data_idx=i).copy()  # noqa: SLF001 - the only way to the scores
                for i in range(len(self._data))
            ]
            return
        scores = self._scores or [self._zero(rows) for rows in self._rows[: len(self._data)]]
        for rows, score in zip(self._rows, scores, strict=False):
            for number in range(rounds):
                score += booster.predict(
                    rows.features,
                    raw_score=True,
                    start_iteration=number,
                    num_iteration=1,
                    num_threads=self._spec.threads,
                )
        self._scores = scores

    def _zero(self, rows: Rows) -> Doubles:
        shape = (len(rows), self._spec.classes) if self._spec.classes else (len(rows),)
        return np.zeros(shape)

    def _transformed(self, score: Doubles) -> Doubles:
        if self._spec.objective is Objective.BINARY_LOGISTIC:
            return 1.0 / (1.0 + np.exp(-score))
        if self._spec.objective is Objective.MULTICLASS:
            powers = np.exp(score - score.max(axis=1, keepdims=True))
            return powers / powers.sum(axis=1, keepdims=True)
        return score


def _require_known(params: Mapping[str, Any]) -> None:
    said = _Said()
    lgb.register_logger(said)
    rows = np.random.default_rng(0).normal(size=(60, 2))
    labels = np.arange(60.0) % max(2, int(params.get("num_class", 2)))
    try:
        checked = {**params, "device_type": "cpu", "verbosity": 0, "num_threads": 1}
        lgb.train(checked, lgb.Dataset(rows, labels, params=checked), 1)
    except (lgb.basic.LightGBMError, ValueError) as e:
        raise TrainingFailure(FailureReason.CONFIG_INVALID, f"params: {e}") from e
    names = re.findall(r"Unknown parameter: (\S+)", "\n".join(said.lines))
    if names:
        raise unknown(", ".join(dict.fromkeys(names)))


def _parts(text: str) -> tuple[str, list[str], str]:
    """Head, trees without their number line, and what follows the trees."""
    head, _, rest = text.partition("Tree=0\n")
    body, _, tail = rest.partition(END)
    first, *others = body.split("\nTree=")
    return head, [first.rstrip("\n"), *(tree.split("\n", 1)[1].rstrip("\n") for tree in others)], tail


def _document(text: str) -> bytes:
    """The model text without its parameters: those name hosts, ports and threads, and no prediction needs them."""
    trees, _, rest = text.partition("\nparameters:\n")
    _, _, after = rest.partition("end of parameters\n")
    return (trees + "\n" + after).encode()
