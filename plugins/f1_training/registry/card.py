"""What is known about a registered model: :class:`ModelCard`, written last, so that its existence is the version's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from f1_training.core.costs import EstimatedCost
from f1_training.core.plan import RunPlan
from trainer.contract import (
    EvaluationResult,
    GroupChange,
    LineageEvent,
    Objective,
    SnapshotRef,
    TrainingResult,
    TrainingSpec,
)
from trainer.contract.evaluation import IN_UNIT
from trainer.contract.fields import Document, require
from trainer.contract.resources import Resources

CARD = "model_card.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard(Document):
    """One version of one model. ``booster`` is the file beside the card, ``baseline`` the naive constant prediction.

    ``registered_at`` is when the run was due, not when this was written: writing the same version twice gives the same
    bytes. ``test_snapshot`` has the rows that ``evaluation`` was made on. ``simulated_target`` says so where no public
    measurement is behind the target. ``machine`` is what each worker asked for, ``cost`` what the run has cost by
    prices. What came to cards later is optional: a registry holds old ones.
    """

    KIND: ClassVar[str] = "model-card"

    model_type: str
    model_version: str
    description: str
    owner: str
    engine: str
    objective: Objective
    features: tuple[str, ...]
    target: str
    unit: str
    baseline: float
    classes: int
    booster: str
    sha256: str
    rounds: int
    dag_id: str
    run_id: str
    registered_at: str
    package_version: str
    image: str
    spec: TrainingSpec
    test_snapshot: SnapshotRef
    result: TrainingResult
    evaluation: EvaluationResult
    class_names: tuple[str, ...] = ()
    simulated_target: str = ""
    machine: str = ""
    cost: EstimatedCost | None = None

    def __post_init__(self) -> None:
        require(self.sha256 == self.result.sha256, "sha256", "is not that of the training result")
        require(self.sha256 == self.evaluation.model_sha256, "sha256", "is not that of the model that was evaluated")


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What a model was made of: the spec, with the snapshot it was trained on, and the snapshot of the test split."""

    spec: TrainingSpec
    test_snapshot: SnapshotRef


def model_card(
    plan: RunPlan,
    inputs: Inputs,
    result: TrainingResult,
    evaluation: EvaluationResult,
    cost: EstimatedCost | None = None,
) -> ModelCard:
    """The card of what a run made, and has cost where that is known.

    Raises:
        ContractError: evaluated was another model than the one that was trained.
    """
    entry = plan.entry
    return ModelCard(
        model_type=entry.model_type,
        model_version=plan.model_version,
        description=entry.description,
        owner=entry.owner,
        engine=result.engine,
        objective=entry.objective,
        features=entry.features,
        target=entry.target,
        unit=entry.unit,
        baseline=entry.baseline,
        classes=entry.classes,
        booster=result.model_uri.rpartition("/")[2],
        sha256=result.sha256,
        rounds=result.rounds,
        dag_id=plan.dag_id,
        run_id=plan.run_id,
        registered_at=plan.planned_at,
        package_version=plan.package_version,
        image=plan.settings.image,
        spec=inputs.spec,
        test_snapshot=inputs.test_snapshot,
        result=result,
        evaluation=evaluation,
        class_names=entry.class_names,
        simulated_target=entry.simulated_target,
        machine=_machine(entry.resources),
        cost=cost,
    )


def _machine(asked: Resources) -> str:
    size = f"{asked.cpu} CPUs, {asked.memory}"
    return f"{asked.machine_type} ({size})" if asked.machine_type else size


def metrics_shown(card: ModelCard) -> dict[str, float]:
    """Metrics of the model by plain names, those of the test split with their unit: ``test_mae_ms``.

    ``final_loss`` is the training metric at the model's last round on the validation split, or where there is none on
    the training split; ``train`` and ``validation`` are it on each; ``test`` is the test split's first metric.
    """
    result, spec = card.result, card.spec
    shown: dict[str, float] = {}
    for purpose, split in (("train", spec.train_split), ("validation", spec.validation_split)):
        if split and split in result.metrics:
            shown[purpose] = result.metrics[split]
    if shown:
        shown["final_loss"] = shown.get("validation", shown.get("train", 0.0))
    suffix = f"_{card.unit}" if card.unit else ""
    for name, value in card.evaluation.metrics.items():
        shown[f"{name}{suffix}" if name in IN_UNIT else name] = value
    if "accuracy" in card.evaluation.metrics:
        shown["test"] = shown["final_accuracy"] = card.evaluation.metrics["accuracy"]
    elif "test_mae" in card.evaluation.metrics:
        shown["test"] = card.evaluation.metrics["test_mae"]
    return shown


def lineage_summary(lineage: tuple[LineageEvent, ...]) -> list[str]:
    """The changes of group in words, such as ``resumed at round 300 with 2 workers``."""
    words: Mapping[GroupChange, str] = {GroupChange.CUT_SHORT: "cut short"}
    return [
        f"{words.get(e.change, e.change.value)} at round {e.round} with {len(e.group)} workers"
        f"{f' ({e.detail})' if e.detail else ''}"
        for e in lineage
    ]
