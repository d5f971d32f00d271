"""From a plan and what earlier stages found to the documents that the pods get. Pure functions."""

from __future__ import annotations

import math

from f1_training.core.plan import RunPlan
from trainer.contract import (
    ChampionModel,
    CheckpointPolicy,
    Device,
    EvaluationSpec,
    Limits,
    OutputUris,
    SnapshotRef,
    TrainingResult,
    TrainingRows,
    TrainingSpec,
    layout,
)
from trainer.contract.probe import ProbeSpec
from trainer.contract.resources import cpus

#: The split of the rows that are only there to be read once.
PROBE_SPLIT = "preflight"
#: The linear baseline has few numbers to learn: more rows change nothing that can be seen.
LINEAR_ROWS = 50_000


def training_spec(plan: RunPlan, snapshot: SnapshotRef, attempt: int) -> TrainingSpec:
    """The job of attempt ``attempt`` (from 1). The first demands an empty folder; later ones resume from it.

    Raises:
        ContractError: the snapshot does not fit the plan, such as a split without rows.
    """
    entry = plan.entry
    return TrainingSpec(
        job_id=plan.job_id,
        model_type=entry.model_type,
        engine=entry.engine,
        objective=entry.objective,
        metric=entry.metric,
        classes=entry.classes,
        features=entry.features,
        rounds=entry.rounds,
        early_stopping_rounds=entry.early_stopping_rounds,
        seed=entry.seed,
        params=entry.engine_params(entry.engine),
        device=plan.device,
        threads=threads(plan),
        snapshot=snapshot,
        output=OutputUris(checkpoints=plan.checkpoints_uri, artifacts=plan.artifacts_uri),
        num_workers=plan.num_workers,
        train_split=plan.train_split,
        validation_split=plan.validation_split,
        checkpoint=CheckpointPolicy(segment_rounds=entry.segment_rounds),
        limits=Limits(
            worker_start_s=plan.settings.scale_up_grace_s,
            heartbeat_s=plan.settings.heartbeat_s,
            regroup_grace_s=plan.settings.regroup_grace_s,
            partition_s=plan.settings.partition_s,
        ),
        resume=attempt > 1,
    )


def evaluation_spec(
    plan: RunPlan,
    snapshot: SnapshotRef,
    result: TrainingResult,
    champion: ChampionModel | None = None,
    training: SnapshotRef | None = None,
) -> EvaluationSpec:
    """Score the trained model on the snapshot of the test split, and beside it the ``champion`` and a linear model,
    which is fitted on rows of the snapshot ``training``.
    """
    entry = plan.entry
    return EvaluationSpec(
        job_id=plan.job_id,
        model_type=entry.model_type,
        engine=entry.engine,
        objective=entry.objective,
        model_uri=result.model_uri,
        model_sha256=result.sha256,
        features=entry.features,
        table=snapshot.table,
        split=plan.test_split,
        output=f"{plan.artifacts_uri}/{layout.METRICS}",
        classes=entry.classes,
        unit=entry.unit,
        baseline=entry.baseline,
        threads=threads(plan),
        champion=champion,
        curves=entry.curves,
        breakdowns=entry.breakdown,
        linear=None if training is None else linear_rows(training, plan.train_split),
    )


def linear_rows(training: SnapshotRef, split: str, most: int = LINEAR_ROWS) -> TrainingRows | None:
    """Whole shards, evenly over those that have rows, that together have about ``most``: what is read is paid for."""
    rows = training.rows.get(split, ())
    filled = [shard for shard, count in enumerate(rows) if count]
    if not filled:
        return None
    wanted = min(len(filled), math.ceil(len(filled) * most / sum(rows)))
    shards = tuple(filled[number * len(filled) // wanted] for number in range(wanted))
    return TrainingRows(table=training.table, split=split, shards=shards, most=most)


def probe_spec(plan: RunPlan, rows: int, device: Device) -> ProbeSpec:
    """Try what this run would need on a node with ``device``; its table has ``rows`` rows of :data:`PROBE_SPLIT`."""
    return ProbeSpec(
        job_id=plan.job_id,
        model_type=plan.model_type,
        engine=plan.entry.engine,
        device=device,
        table=plan.training_table,
        split=PROBE_SPLIT,
        rows=rows,
        output=OutputUris(checkpoints=plan.checkpoints_uri, artifacts=plan.artifacts_uri),
    )


def threads(plan: RunPlan) -> int:
    """Threads of a worker: the deployment's, or else as many as whole CPUs are requested for it."""
    if plan.settings.threads is not None:
        return plan.settings.threads
    return max(1, int(cpus(plan.entry.resources.cpu)))
