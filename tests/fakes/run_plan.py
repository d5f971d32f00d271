"""A plan of a run as the tests of the Airflow side use it, and documents of what followed from it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from f1_training.core.plan import RunIdentity, RunPlan, plan_runs
from f1_training.core.settings import Settings, read_settings
from trainer.contract import (
    Comparison,
    EvaluationResult,
    GroupChange,
    GroupMember,
    GroupScore,
    Interval,
    LineageEvent,
    SnapshotRef,
    TrainingResult,
    read_catalogue,
)

RUN = RunIdentity(dag_id="f1_training", run_id="manual__1", at=datetime(2026, 11, 23, 22, 15, 30, tzinfo=UTC))
BOOSTER = b"a booster"


def settings(folder: str = "gs://bucket", **changes: Any) -> Settings:
    """A deployment with everything below ``folder``."""
    body = {
        "project": "f1-project",
        "image": "registry/f1/training-worker@sha256:" + "0" * 64,
        "uris": {name: f"{folder}/{name}" for name in ("checkpoints", "artifacts", "models")},
    }
    return read_settings({**body, **changes})


def make_plan(deployed: Settings | None = None, **params: Any) -> RunPlan:
    """The plan of one model for the run ``manual__1``."""
    asked = {"model_type": "tire_degradation", "num_workers": 2, **params}
    return plan_runs(asked, deployed or settings(), RUN, read_catalogue(), "0.1.0")[0]


def training_snapshot(plan: RunPlan, rows: int = 50) -> SnapshotRef:
    """``rows`` rows in every shard of both splits."""
    shards = (rows,) * plan.entry.logical_shards
    splits = {plan.train_split: shards, plan.validation_split: shards}
    return SnapshotRef(table=plan.training_table, logical_shards=plan.entry.logical_shards, rows=splits)


def held_out_snapshot(plan: RunPlan, rows: int = 10) -> SnapshotRef:
    """``rows`` rows in every shard of the test split."""
    shards = (rows,) * plan.entry.logical_shards
    table, count = plan.evaluation_table, plan.entry.logical_shards
    return SnapshotRef(table=table, logical_shards=count, rows={plan.test_split: shards})


def training_result(plan: RunPlan, booster: bytes = BOOSTER, **changes: Any) -> TrainingResult:
    """What the chief wrote."""
    group = tuple(GroupMember(rank=i, worker_index=i, shards=(i,), rows=50) for i in range(plan.num_workers))
    event = LineageEvent(change=GroupChange.STARTED, round=0, epoch=1, at="2026-11-23T22:16:00Z", group=group)
    values: dict[str, Any] = {
        "job_id": plan.job_id,
        "model_type": plan.model_type,
        "engine": plan.entry.engine.value,
        "model_uri": f"{plan.artifacts_uri}/booster.ubj",
        "sha256": hashlib.sha256(booster).hexdigest(),
        "bytes": len(booster),
        "rounds": 700,
        "trained_rounds": 750,
        "metric": "mae",
        "metrics": {"train": 540.5, "validation": 561.25},
        "history": {"validation": (570.0, 561.25)},
        "rows": {"train": 2000, "validation": 2000},
        "workers": plan.num_workers,
        "manifest_uri": f"{plan.checkpoints_uri}/epochs/000001/rounds/00000750/manifest.json",
        "libraries": {"xgboost": "3.2.0"},
        "lineage": (event,),
        "seconds": {"total": 42.0},
        "features": plan.entry.features,
    }
    return TrainingResult(**{**values, **changes})


def compared(version: str, low: float, high: float, mae: float = 557.0) -> Comparison:
    """A model beside the champion ``version``: the difference lies between ``low`` and ``high``."""
    middle = (low + high) / 2
    return Comparison(
        version=version,
        metric="test_mae",
        own=mae,
        champion=mae - middle,
        difference=middle,
        interval=Interval(low=low, high=high),
    )


def evaluation_result(
    plan: RunPlan, result: TrainingResult, mae: float = 557.0, comparison: Comparison | None = None
) -> EvaluationResult:
    """What the evaluation found."""
    return EvaluationResult(
        job_id=plan.job_id,
        model_type=plan.model_type,
        model_uri=result.model_uri,
        model_sha256=result.sha256,
        table=plan.evaluation_table,
        split=plan.test_split,
        rows=400,
        metrics={"test_mae": mae, "baseline_mae": 807.0, "rmse": 800.0},
        by_group=(GroupScore(group="2025_R01", rows=400, value=mae),),
        intervals={},
        unit=plan.entry.unit,
        comparison=comparison,
    )


class StateStore:
    """``context["task_state_store"]``, in memory."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value
