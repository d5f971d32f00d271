"""Train a model: a chief and its workers in Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from f1_training.core.plan import RunPlan
from f1_training.core.retry import RULES, Decision
from f1_training.kubernetes.names import Purpose
from f1_training.operators.job import JobOperator
from f1_training.operators.metrics import count_success
from trainer.contract import GroupChange, Outcome, SnapshotRef, TrainingFailure
from trainer.contract.fields import decode

if TYPE_CHECKING:
    from f1_training.kubernetes.manifests import Bundle

#: Manifests of committed rounds, as ``trainer.contract.layout.manifest`` names them.
COMMITTED = re.compile(r"epochs/(\d+)/rounds/(\d+)/manifest\.json")


class DaskTrainingOperator(JobOperator):
    """Train one model on its snapshot, distributed over ``num_workers`` workers.

    Args:
        plan: the run's plan, from task ``plan``.
        snapshots: what :class:`SnapshotOperator` returned.

    Returns ``result_uri``, ``model_uri``, ``sha256``, ``rounds``, ``metrics`` by split, ``workers``, ``attempt`` and
    whether it ``resumed``.
    """

    purpose: Purpose = Purpose.TRAIN
    template_fields: Sequence[str] = ("plan", "snapshots")
    ui_color = "#e2f0d9"

    def __init__(self, *, plan: Any, snapshots: Any, **kwargs: Any) -> None:
        super().__init__(plan=plan, **kwargs)
        self.snapshots = snapshots
        self._model_uri = ""

    def bundle(self, plan: RunPlan, attempt: int) -> Bundle:
        """Chief and workers; certificates are new for each attempt."""
        from f1_training.core.specs import training_spec
        from f1_training.kubernetes.certificates import issue
        from f1_training.kubernetes.manifests import training_bundle
        from f1_training.kubernetes.settings import job_settings

        spec = training_spec(plan, decode(SnapshotRef, self.snapshots["training"], "snapshot"), attempt)
        settings = job_settings(plan, self.purpose, attempt)
        certificates = None
        if spec.num_workers > 1:
            certificates = issue(settings.names.dns_names(), settings.deadline_s + plan.settings.scale_up_grace_s)
        return training_bundle(spec, settings, certificates)

    def result(self, plan: RunPlan, outcome: Outcome, attempt: int) -> dict[str, Any]:
        """What the chief wrote."""
        from f1_training.core.storage import read_object
        from trainer.contract import TrainingResult

        made = TrainingResult.from_json(read_object(outcome.result_uri))
        self.log.info("%s: %s rounds, sha256 %s", made.model_uri, made.rounds, made.sha256)
        self._model_uri = made.model_uri
        self._prune(plan)
        count_success(plan)
        return {
            "job_id": made.job_id,
            "result_uri": outcome.result_uri,
            "model_uri": made.model_uri,
            "sha256": made.sha256,
            "rounds": made.rounds,
            "metrics": dict(made.metrics),
            "workers": made.workers,
            "attempt": attempt,
            "resumed": any(event.change is GroupChange.RESUMED for event in made.lineage),
        }

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002 - the provider's signature
        """The snapshot that was trained on, and the booster."""
        from f1_training.operators.lineage import moved

        return moved([self.snapshots["training"]["table"]], [self._model_uri])

    def _prune(self, plan: RunPlan) -> None:
        from f1_training.core.storage import prune_checkpoints

        try:
            prune_checkpoints(plan.checkpoints_uri, plan.settings.checkpoints_kept)
        except Exception as e:  # noqa: BLE001 - a model that is trained is not lost over what is only tidy
            self.log.warning("%s: old checkpoints could not be removed: %s", plan.checkpoints_uri, e)

    def what_next(self, plan: RunPlan, outcome: Outcome, decision: Decision) -> str:
        """Where the run goes on."""
        advice = super().what_next(plan, outcome, decision)
        committed = outcome.last_round or last_committed_round(plan.checkpoints_uri)
        if not committed:
            return f"no round was committed; {advice}"
        assert outcome.reason is not None
        if not RULES[outcome.reason].retried:
            return f"the last committed round is {committed}; {advice}"
        if decision.retry:
            return f"{advice}; resumes at round {committed}"
        return advice.replace(f"({plan.run_id})", f"({plan.run_id}) to resume at round {committed}", 1)


def last_committed_round(checkpoints_uri: str) -> int:
    """The newest committed round below ``checkpoints_uri``, of the highest epoch that has any; 0 when there is none."""
    from f1_training.core.storage import open_store, storage_errors

    try:
        with storage_errors(checkpoints_uri):
            names = open_store(checkpoints_uri).list("epochs")
    except TrainingFailure:
        return 0  # only for a message: the storage's own trouble is told elsewhere
    found = [(int(m[1]), int(m[2])) for m in map(COMMITTED.fullmatch, names) if m]
    return max(found, default=(0, 0))[1]
