"""Score a trained model on rows that it never saw, in a pod of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from f1_training.core.plan import RunPlan
from f1_training.kubernetes.names import Purpose
from f1_training.operators.job import JobOperator
from trainer.contract import Outcome, SnapshotRef
from trainer.contract.fields import decode

if TYPE_CHECKING:
    from f1_training.kubernetes.manifests import Bundle
    from trainer.contract import ChampionModel


class EvaluationOperator(JobOperator):
    """Evaluate what was trained on the snapshot of the test split, beside the champion on the same rows.

    Args:
        plan: the run's plan, from task ``plan``.
        snapshots: what :class:`SnapshotOperator` returned.
        trained: what :class:`DaskTrainingOperator` returned.

    Returns ``evaluation_uri``, ``metrics`` and ``rows``.
    """

    purpose: Purpose = Purpose.EVALUATE
    template_fields: Sequence[str] = ("plan", "snapshots", "trained")
    ui_color = "#e4dcf1"

    def __init__(self, *, plan: Any, snapshots: Any, trained: Any, **kwargs: Any) -> None:
        super().__init__(plan=plan, **kwargs)
        self.snapshots = snapshots
        self.trained = trained

    def bundle(self, plan: RunPlan, attempt: int) -> Bundle:
        """One Job with one pod."""
        from f1_training.core.specs import evaluation_spec
        from f1_training.core.storage import read_object
        from f1_training.kubernetes.manifests import Bundle, evaluation_job
        from f1_training.kubernetes.settings import job_settings
        from trainer.contract import TrainingResult

        made = TrainingResult.from_json(read_object(self.trained["result_uri"]))
        rows, training = (decode(SnapshotRef, self.snapshots[name], "snapshot") for name in ("evaluation", "training"))
        spec = evaluation_spec(plan, rows, made, self._champion(plan), training)
        settings = job_settings(plan, self.purpose, attempt)
        return Bundle(main=evaluation_job(spec, settings), queued=bool(settings.queue))

    def _champion(self, plan: RunPlan) -> ChampionModel | None:
        """What serves now; nothing to compare with where that is this run's own version."""
        from f1_training.registry.store import Registry
        from trainer.contract import ChampionModel, Engine

        found = Registry(plan.settings.uris.models).champion(plan.model_type)
        if found is None or found.version == plan.model_version:
            return None
        return ChampionModel(
            version=found.version,
            engine=Engine(found.card.engine),
            model_uri=found.model_uri,
            model_sha256=found.card.sha256,
            features=found.card.features,
        )

    def result(self, plan: RunPlan, outcome: Outcome, attempt: int) -> dict[str, Any]:  # noqa: ARG002 - the base's
        """What the evaluation found."""
        from f1_training.core.storage import read_object
        from trainer.contract import EvaluationResult

        found = EvaluationResult.from_json(read_object(outcome.result_uri))
        for name, value in sorted(found.metrics.items()):
            between = found.intervals.get(name)
            shown = f" ({between.low:.6g} to {between.high:.6g})" if between else ""
            self.log.info("%s %.6g%s on %s rows of split %r", name, value, shown, found.rows, found.split)
        if found.comparison is not None:
            from f1_training.registry.promotion import told

            self.log.info("%s", told(found.comparison, found.unit))
        return {"evaluation_uri": outcome.result_uri, "metrics": dict(found.metrics), "rows": found.rows}
