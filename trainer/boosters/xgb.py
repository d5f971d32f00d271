"""XGBoost as a :class:`trainer.boosters.BoosterEngine`."""

from __future__ import annotations

import json
import math
import re
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.boosters import xgb_document
from trainer.boosters.engine import Doubles, Floats, Predictor
from trainer.boosters.parameters import Rules, refused
from trainer.contract import Device, FailureReason, Objective, TrainingFailure, TrainingSpec
from trainer.contract.spec import LINEAR

if TYPE_CHECKING:
    from trainer.boosters.engine import RankBooster

OBJECTIVES = {
    Objective.ABSOLUTE_ERROR: "reg:absoluteerror",
    Objective.SQUARED_ERROR: "reg:squarederror",
    Objective.BINARY_LOGISTIC: "binary:logistic",
    Objective.MULTICLASS: "multi:softprob",
}
ALIASES = {
    "eta": "learning_rate",
    "gamma": "min_split_loss",
    "lambda": "reg_lambda",
    "alpha": "reg_alpha",
    "n_jobs": "nthread",
    "random_state": "seed",
}
OWNED = {
    "set `objective`, `classes` or `metric` of the spec instead": (
        "objective",
        "num_class",
        "eval_metric",
        "disable_default_eval_metric",
    ),
    "set `threads` of the spec instead": ("nthread",),
    "set `seed` of the spec instead": ("seed", "seed_per_iteration"),
    "set `device` of the spec instead": ("device", "gpu_id", "predictor"),
    "set `rounds` or `early_stopping_rounds` of the spec instead": (
        "num_boost_round",
        "num_round",
        "n_estimators",
        "early_stopping_rounds",
    ),
    "remove it: all segments must start from the same score": ("base_score",),
    "remove it: every segment grows new trees": ("process_type", "updater", "refresh_leaf", "multi_strategy"),
    "remove it": ("verbosity", "validate_parameters", "data_split_mode", "missing", "use_rmm"),
}
RULES = Rules(
    first_names=ALIASES,
    owned=OWNED,
    allowed={"booster": ("gbtree",), "tree_method": ("hist", "auto")},
    why="trees of segments are appended to one model",
)
#: Of a linear model only what fits its weights in one defined order can be set.
LINEAR_RULES = Rules(
    first_names=ALIASES,
    owned=OWNED | {"remove it: weights are fitted one after the other": ("updater", "feature_selector", "top_k")},
    allowed={"booster": (LINEAR,)},
    why="it is what makes the model linear",
)
NOT_USED = re.compile(r"Parameters: \{(?P<names>[^}]*)\} are not used")
#: Where in the source and when: XGBoost puts that before each part of a message.
NOISE = re.compile(r"^(- )?\[[\w.:|]+\]:? ?(\S+:\d+: )?")


class XgboostTracker:
    """The tracker of one group, in the chief's process; every group needs a new one."""

    def __init__(self, host: str, n_workers: int, timeout_s: float) -> None:
        from xgboost import RabitTracker

        # Ranks follow the task ids that we give, because the order of ranks decides the order of sums.
        self._tracker = RabitTracker(
            n_workers=n_workers, host_ip=host, sortby="task", timeout=max(1, math.ceil(timeout_s))
        )
        self._tracker.start()
        self._arguments: Mapping[str, Any] = dict(self._tracker.worker_args())

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Host and port, as XGBoost names them."""
        return self._arguments

    def close(self) -> None:
        """Free it in a thread of its own: freeing waits for ranks, which may be gone."""

        def free(tracker: Any) -> None:
            try:
                tracker.free()
            except Exception:  # noqa: BLE001 - it complains about ranks that did not say goodbye
                return

        threading.Thread(target=free, args=(self._tracker,), name="free-tracker", daemon=True).start()


class XgboostEngine:
    """See :class:`trainer.boosters.BoosterEngine`."""

    suffix = ".ubj"

    def assemble(self, documents: Sequence[bytes], *, rounds: int | None = None) -> bytes:
        """One model file of all segments."""
        return xgb_document.assemble(documents, rounds=rounds)

    def check_device(self, device: Device) -> None:
        """CUDA needs a build that has it, and a GPU."""
        if device is Device.CPU:
            return
        import xgboost

        if not xgboost.build_info().get("USE_CUDA"):
            problem = "this build of XGBoost has no CUDA; install the extra [gpu] instead of [train]"
            raise _no_device(device, problem)
        try:
            data = xgboost.DMatrix(np.zeros((2, 1), np.float32), np.zeros(2, np.float32))
            xgboost.train({"device": device.value, "verbosity": 0}, data, 1)
        except xgboost.core.XGBoostError as e:
            raise _no_device(device, message_of(e)) from e

    def check_params(self, spec: TrainingSpec) -> None:
        """Refuse what the system owns, then let the library look at the rest with a handful of rows."""
        rules = LINEAR_RULES if spec.is_linear else RULES
        rules.canonical(spec.params)
        _try_params(spec)

    def rank_booster(self, spec: TrainingSpec) -> RankBooster:
        """A booster for one rank."""
        if spec.is_linear:
            from trainer.boosters.xgb_linear import XgboostLinearRank

            return XgboostLinearRank(spec)
        from trainer.boosters.xgb_rank import XgboostRank

        return XgboostRank(spec)

    def load_for_chief(self) -> None:
        """The tracker is the library's."""
        import xgboost  # noqa: F401 - for its sake

    def start_tracker(self, host: str, n_workers: int, timeout_s: float) -> XgboostTracker:
        """Start a tracker that ranks connect to within ``timeout_s``."""
        return XgboostTracker(host, n_workers, timeout_s)

    def predict(self, model: bytes, features: Floats, threads: int = 1) -> Doubles:
        """Predict with every tree of ``model``."""
        return self.predictor(model, threads)(features)

    def contributions(self, model: bytes, features: Floats, threads: int = 1) -> Doubles:
        """By TreeSHAP; of a linear model weight times value."""
        import xgboost

        booster = xgboost.Booster({"nthread": threads}, model_file=bytearray(model))
        data = xgboost.DMatrix(features, nthread=threads)
        found = np.asarray(booster.predict(data, pred_contribs=True, validate_features=False), dtype=np.float64)
        # The last column is what is predicted without any feature.
        return found[:, :-1] if found.ndim == 2 else np.abs(found[:, :, :-1]).mean(axis=1)

    def predictor(self, model: bytes, threads: int = 1) -> Predictor:
        """The whole ``model``, read once."""
        import xgboost

        booster = xgboost.Booster({"nthread": threads}, model_file=bytearray(model))
        linear = json.loads(booster.save_config())["learner"]["gradient_booster"]["name"] == LINEAR

        def predict(features: Floats) -> Doubles:
            if linear:  # which XGBoost predicts from its own matrices only
                data = xgboost.DMatrix(features, nthread=threads)
                return np.asarray(booster.predict(data, validate_features=False), dtype=np.float64)
            return np.asarray(booster.inplace_predict(features, validate_features=False), dtype=np.float64)

        return predict


def library_params(spec: TrainingSpec) -> dict[str, Any]:
    """The parameters of every segment but its seed and the base score."""
    # Plain coordinate descent gives the same weights each time; the default, shotgun, depends on the threads' timing.
    own = {"updater": "coord_descent", "feature_selector": "cyclic"} if spec.is_linear else {"tree_method": "hist"}
    params: dict[str, Any] = {
        **spec.params,
        **own,
        "objective": OBJECTIVES[spec.objective],
        "nthread": spec.threads,
        "device": spec.device.value,
        # Its own metric would cost a collective operation a round.
        "disable_default_eval_metric": 1,
        "validate_parameters": True,
        "verbosity": 1,
    }
    return params | ({"num_class": spec.classes} if spec.classes else {})


def message_of(error: Exception) -> str:
    """What XGBoost says, without the stack of its C++ code."""
    lines = [NOISE.sub("", line.strip()) for line in str(error).partition("Stack trace")[0].splitlines()]
    return "; ".join(line for line in lines if line)


def _try_params(spec: TrainingSpec) -> None:
    import xgboost

    rows = max(spec.classes, 2) * 4
    generator = np.random.default_rng(0)
    features = generator.normal(size=(rows, len(spec.features))).astype(np.float32)
    target = np.arange(rows, dtype=np.float32) % max(spec.classes, 2)
    params = {**library_params(spec), "device": "cpu", "nthread": 1, "base_score": 0.5}
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            xgboost.train(params, xgboost.DMatrix(features, target, feature_names=list(spec.features)), 1)
    except (xgboost.core.XGBoostError, ValueError, TypeError) as e:
        problem = message_of(e)
        names = [name for name in spec.params if re.search(rf"\b{re.escape(name)}\b", problem)]
        raise refused(names[0] if names else "*", problem) from e
    for warning in said:
        unused = NOT_USED.search(str(warning.message))
        if unused:
            names = [name.strip(' "') for name in unused["names"].split(",")]
            raise refused(names[0], f"XGBoost does not know or use {', '.join(names)}; check the spelling")


def _no_device(device: Device, problem: str) -> TrainingFailure:
    message = f"device: {device.value!r} cannot be used here: {problem}. Train on cpu, or where there is a GPU"
    return TrainingFailure(FailureReason.CONFIG_INVALID, message)
