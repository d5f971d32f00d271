"""Parameters that people may set, and those that the system owns because its promises rest on them."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.contract import FailureReason, TrainingFailure

OWNED = frozenset(
    ["nthread", "n_jobs", "num_threads", "num_thread", "nthreads", "seed", "random_state", "random_seed", "objective", "objective_type", "app", "application", "loss", "device", "device_type", "base_score", "boost_from_average", "num_class", "num_classes", "machines", "workers", "nodes", "num_machines", "num_machine", "local_listen_port", "local_port", "port", "time_out", "tree_learner", "pre_partition", "deterministic", "force_row_wise", "force_col_wise", "num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees", "num_round", "num_rounds", "nrounds", "num_boost_round", "n_estimators", "max_iter", "eval_metric", "metric", "metrics", "metric_types", "disable_default_eval_metric", "early_stopping_round", "early_stopping_rounds", "early_stopping", "n_iter_no_change", "input_model", "model_input", "model_in", "output_model", "process_type", "updater", "verbosity", "verbose", "validate_parameters", "seed_per_iteration", "bagging_seed", "feature_fraction_seed", "data_random_seed", "extra_seed", "drop_seed", "objective_seed", "sampling_method_seed", "init_score", "categorical_feature"]
)


def require_not_owned(params: Mapping[str, object]) -> None:
    """Refuse what the system sets itself.

    Raises:
        TrainingFailure: ``ConfigInvalid`` naming ``params.X``.
    """
    for name in params:
        if name in OWNED:
            message = f"params.{name}: is set by the system from the spec and cannot be a parameter; remove it"
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message)


def unknown(names: str) -> TrainingFailure:
    """The refusal of parameters that the library does not know."""
    return TrainingFailure(
        FailureReason.CONFIG_INVALID, f"params: the library does not know {names}; check the spelling"
    )
