"""Parameters that people may set, and those that the system owns because its promises rest on them."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.contract import FailureReason, TrainingFailure

OWNED = frozenset(
    """
    app application bagging_seed base_score boost_from_average categorical_feature data_random_seed
    deterministic device device_type disable_default_eval_metric drop_seed early_stopping early_stopping_round
    early_stopping_rounds eval_metric extra_seed feature_fraction_seed force_col_wise force_row_wise init_score
    input_model local_listen_port local_port loss machines max_iter metric metric_types metrics model_in
    model_input n_estimators n_iter n_iter_no_change n_jobs nodes nrounds nthread nthreads num_boost_round
    num_class num_classes num_iteration num_iterations num_machine num_machines num_round num_rounds num_thread
    num_threads num_tree num_trees objective objective_seed objective_type output_model port pre_partition
    process_type random_seed random_state sampling_method_seed seed seed_per_iteration time_out tree_learner
    updater validate_parameters verbose verbosity workers
    """.split()
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
