"""LightGBM as a :class:`trainer.boosters.BoosterEngine`."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.boosters import lgbm_document
from trainer.boosters.engine import Doubles, Floats, Predictor, Tracker
from trainer.boosters.parameters import Rules, refused
from trainer.contract import Device, FailureReason, Objective, TrainingFailure, TrainingSpec

if TYPE_CHECKING:
    from trainer.boosters.lgbm_rank import LightgbmRank

OBJECTIVES = {
    Objective.ABSOLUTE_ERROR: "regression_l1",
    Objective.SQUARED_ERROR: "regression",
    Objective.BINARY_LOGISTIC: "binary",
    Objective.MULTICLASS: "multiclass",
}
#: By their first names; aliases are the library's.
OWNED = {
    "set `objective`, `classes` or `metric` of the spec instead": (
        "objective",
        "num_class",
        "metric",
        "first_metric_only",
        "is_provide_training_metric",
        "metric_freq",
    ),
    "set `threads` of the spec instead": ("num_threads",),
    "set `seed` of the spec instead": (
        "seed",
        "data_random_seed",
        "bagging_seed",
        "feature_fraction_seed",
        "extra_seed",
        "drop_seed",
        "objective_seed",
    ),
    "set `device` of the spec instead": ("device_type",),
    "set `num_workers` of the spec instead": (
        "machines",
        "num_machines",
        "machine_list_filename",
        "local_listen_port",
        "time_out",
        "tree_learner",
        "pre_partition",
    ),
    "set `rounds` or `early_stopping_rounds` of the spec instead": (
        "num_iterations",
        "early_stopping_round",
        "early_stopping_min_delta",
    ),
    "remove it: equal specs must give equal bytes": ("deterministic", "force_row_wise", "force_col_wise"),
    "remove it: all segments must start from the same score": ("boost_from_average", "reg_sqrt", "sigmoid"),
    "remove it: trees of segments are appended to one model": ("linear_tree", "refit_decay_rate"),
    "remove it: rows and columns come from the snapshot": (
        "task",
        "config",
        "data",
        "valid",
        "header",
        "two_round",
        "label_column",
        "weight_column",
        "group_column",
        "ignore_column",
        "categorical_feature",
        "parser_config_file",
        "precise_float_parser",
    ),
    "remove it: training reads and writes no files": (
        "input_model",
        "output_model",
        "output_result",
        "snapshot_freq",
        "save_binary",
        "forcedsplits_filename",
        "forcedbins_filename",
        "convert_model",
        "convert_model_language",
    ),
    "remove it": ("verbosity", "saved_feature_importance_type"),
}
ALLOWED = {"boosting": ("gbdt", "gbrt", "traditional"), "data_sample_strategy": ("bagging", "goss")}


class LightgbmEngine:
    """See :class:`trainer.boosters.BoosterEngine`."""

    suffix = ".txt"

    def assemble(self, documents: Sequence[bytes], *, rounds: int | None = None) -> bytes:
        """One model file of all segments."""
        return lgbm_document.assemble(documents, rounds=rounds)

    def check_device(self, device: Device) -> None:
        """The wheel has OpenCL; whether there is a device for it, only trying tells."""
        if device is Device.CPU:
            return
        try:
            _train_a_little({"device_type": device.value, "num_threads": 1}, classes=0, features=("a", "b"))
        except Exception as e:
            message = (
                f"device: {device.value!r} cannot be used here: LightGBM finds no OpenCL device ({e}). "
                "Train on cpu, or where there is a GPU"
            )
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e

    def check_params(self, spec: TrainingSpec) -> None:
        """Refuse what is unknown or the system's, then let the library look at the values with a handful of rows."""
        names = rules().first_names
        for name in spec.params:
            if name not in names:
                raise refused(name, "LightGBM does not know it; check the spelling")
        rules().canonical(spec.params)
        try:
            _train_a_little(
                {**library_params(spec), "device_type": "cpu", "num_threads": 1},
                classes=spec.classes,
                features=spec.features,
            )
        except Exception as e:
            named = [name for name in spec.params if name in str(e) or names[name] in str(e)]
            raise refused(named[0] if named else "*", f"LightGBM refuses it: {e}") from e

    def rank_booster(self, spec: TrainingSpec) -> LightgbmRank:
        """A booster for one rank."""
        from trainer.boosters.lgbm_rank import LightgbmRank

        return LightgbmRank(spec)

    def load_for_chief(self) -> None:
        """Its ranks need no tracker."""

    def start_tracker(self, host: str, n_workers: int, timeout_s: float) -> Tracker:
        """LightGBM's ranks get each other's addresses instead."""
        raise NotImplementedError(f"LightGBM has no tracker (asked for one of {n_workers} on {host}, {timeout_s} s)")

    def predict(self, model: bytes, features: Floats, threads: int = 1) -> Doubles:
        """Predict with every tree of ``model``."""
        return self.predictor(model, threads)(features)

    def contributions(self, model: bytes, features: Floats, threads: int = 1) -> Doubles:
        """By TreeSHAP."""
        import lightgbm

        booster = lightgbm.Booster(model_str=model.decode())
        found = np.asarray(booster.predict(features, pred_contrib=True, num_threads=threads), dtype=np.float64)
        by_class = found.reshape(len(features), -1, features.shape[1] + 1)[:, :, :-1]
        return by_class[:, 0] if by_class.shape[1] == 1 else np.abs(by_class).mean(axis=1)

    def predictor(self, model: bytes, threads: int = 1) -> Predictor:
        """Every tree of ``model``, read once."""
        import lightgbm

        booster = lightgbm.Booster(model_str=model.decode())

        def predict(features: Floats) -> Doubles:
            return np.asarray(booster.predict(features, num_threads=threads), dtype=np.float64)

        return predict


def library_params(spec: TrainingSpec) -> dict[str, Any]:
    """The parameters of every segment but its seed and the network's."""
    params: dict[str, Any] = rules().canonical(spec.params) | {
        "objective": OBJECTIVES[spec.objective],
        "num_threads": spec.threads,
        "device_type": spec.device.value,
        "deterministic": True,
        "force_row_wise": True,
        "boost_from_average": False,
        "metric": "none",
        "verbosity": -1,
    }
    return params | ({"num_class": spec.classes} if spec.classes else {})


@functools.cache
def rules() -> Rules:
    """The library's parameters, under all their names."""
    # Its own table, which it exports for its wrappers; there is no public way to it.
    from lightgbm.basic import _ConfigAliases

    table = _ConfigAliases._get_all_param_aliases()  # noqa: SLF001
    names = {alias: first for first, aliases in table.items() for alias in aliases}
    return Rules(first_names=names, owned=OWNED, allowed=ALLOWED, why="trees of segments are appended to one model")


def _train_a_little(params: Mapping[str, Any], *, classes: int, features: Sequence[str]) -> None:
    import lightgbm

    kinds = max(classes, 2)
    rows = np.random.default_rng(0).normal(size=(kinds * 20, len(features)))
    target = np.arange(len(rows), dtype=np.float64) % kinds
    tried = {**params, "verbosity": -1}
    data = lightgbm.Dataset(rows, target, params=tried, feature_name=list(features))
    lightgbm.train(tried, data, 1)
