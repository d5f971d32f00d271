"""Round trips, strictness, and golden documents that must parse for ever."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.contract import (
    EXIT_CODES,
    CheckpointPolicy,
    ContractError,
    Device,
    EarlyStopping,
    Engine,
    EvaluationSpec,
    FailureReason,
    GroupChange,
    GroupMember,
    Limits,
    LineageEvent,
    Manifest,
    Metric,
    Objective,
    Outcome,
    OutputUris,
    SegmentFile,
    SnapshotRef,
    TrainingResult,
    TrainingSpec,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "contract"

SPEC = TrainingSpec(
    job_id="tire-degradation-3f2a91c4",
    model_type="tire_degradation",
    engine=Engine.XGBOOST,
    objective=Objective.ABSOLUTE_ERROR,
    metric=Metric.MAE,
    features=("tire_age", "lap_number"),
    rounds=800,
    snapshot=SnapshotRef(
        table="f1.f1_staging.tire", logical_shards=3, rows={"train": (10, 20, 30), "validation": (1, 2, 3)}
    ),
    output=OutputUris(checkpoints="gs://checkpoints/job", artifacts="gs://artifacts/job"),
    params={"max_depth": 6, "learning_rate": 0.05, "grow_policy": "depthwise", "flag": True},
    early_stopping_rounds=50,
    num_workers=2,
    limits=Limits(heartbeat_s=30.0),
)
GROUP = (
    GroupMember(rank=0, worker_index=0, shards=(2,), rows=30),
    GroupMember(rank=1, worker_index=1, shards=(0, 1), rows=30),
)
EVENT = LineageEvent(change=GroupChange.STARTED, round=0, epoch=1, at="2026-11-23T22:00:00Z", group=GROUP)
SEGMENT = SegmentFile(segment=0, first_round=0, last_round=100, file="epochs/000001/x", sha256="a" * 64, bytes=7)
MANIFEST = Manifest(
    job_id=SPEC.job_id,
    epoch=1,
    segment=0,
    round=100,
    seed=7,
    spec_sha256="b" * 64,
    base_score=0.5,
    segments=(SEGMENT,),
    group=GROUP,
    libraries={"xgboost": "3.2.0"},
    early_stopping=EarlyStopping(best_round=90, best_value=1.5),
    history={"validation": (2.0, 1.5)},
    lineage=(EVENT,),
    committed_at="2026-11-23T22:01:00Z",
)
DOCUMENTS = {
    "training-spec": SPEC,
    "evaluation-spec": EvaluationSpec(
        job_id=SPEC.job_id,
        model_type=SPEC.model_type,
        engine=Engine.XGBOOST,
        objective=Objective.ABSOLUTE_ERROR,
        model_uri="gs://artifacts/job/booster.ubj",
        model_sha256="c" * 64,
        features=SPEC.features,
        table="f1.f1_evaluation.tire",
        split="test",
        output="gs://artifacts/job/metrics.json",
    ),
    "manifest": MANIFEST,
    "outcome": Outcome(job_id=SPEC.job_id, reason=FailureReason.WORKERS_LOST, message="2 of 4", last_round=100),
    "training-result": TrainingResult(
        job_id=SPEC.job_id,
        model_type=SPEC.model_type,
        engine="xgboost",
        model_uri="gs://artifacts/job/booster.ubj",
        sha256="c" * 64,
        bytes=10,
        rounds=90,
        trained_rounds=100,
        metric="mae",
        metrics={"validation": 1.5},
        history={"validation": (2.0, 1.5)},
        rows={"train": 60},
        workers=2,
        manifest_uri="gs://checkpoints/job/m",
        libraries={"xgboost": "3.2.0"},
        lineage=(EVENT,),
        seconds={"train": 1.0},
        features=SPEC.features,
    ),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_round_trip(name: str) -> None:
    document = DOCUMENTS[name]
    assert type(document).from_json(document.to_json()) == document


@pytest.mark.parametrize("name", DOCUMENTS)
def test_golden_document_of_version_1_still_reads(name: str) -> None:
    text = (GOLDEN / f"{name}.v1.json").read_text()
    assert type(DOCUMENTS[name]).from_json(text) == DOCUMENTS[name]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": 2}, "version"),
        ({"kind": "manifest"}, "kind"),
        ({"job_id": "Not A Label"}, "job_id"),
        ({"rounds": 0}, "rounds"),
        ({"rounds": "800"}, "rounds"),
        ({"rounds": True}, "rounds"),
        ({"num_workers": 11}, "num_workers"),
        ({"num_workers": 4}, "num_workers"),
        ({"features": []}, "features"),
        ({"features": ["a", "a"]}, "features"),
        ({"features": ["target"]}, "target"),
        ({"engine": "catboost"}, "engine"),
        ({"device": "gpu"}, "device"),
        ({"metric": "log_loss"}, "metric"),
        ({"classes": 3}, "classes"),
        ({"validation_split": "nope"}, "validation_split"),
        ({"train_split": "nope"}, "train_split"),
        ({"seed": -1}, "seed"),
        ({"unheard_of": 1}, "unheard_of"),
        ({"params": {"x": None}}, "params.x"),
        ({"checkpoint": {"segment_rounds": 1001}}, "checkpoint.segment_rounds"),
        ({"snapshot": {"table": "x", "logical_shards": 1, "rows": {}}}, "snapshot.table"),
        ({"snapshot": {"table": "a.b.c", "logical_shards": 2, "rows": {"train": [1]}}}, "snapshot.rows.train"),
        ({"output": {"checkpoints": "/tmp", "artifacts": "gs://a"}}, "output.checkpoints"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, object], field: str) -> None:
    body = {**json.loads(SPEC.to_json()), **change}
    with pytest.raises(ContractError) as caught:
        TrainingSpec.from_json(json.dumps(body))
    assert caught.value.field == field


def test_a_missing_field_is_named() -> None:
    body = json.loads(SPEC.to_json())
    del body["snapshot"]["table"]
    with pytest.raises(ContractError, match=r"^snapshot\.table: is missing$"):
        TrainingSpec.from_json(json.dumps(body))


@pytest.mark.parametrize("text", ["", "[]", "nonsense", "{}"])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        Manifest.from_json(text)


def test_a_device_fits_its_engine() -> None:
    assert replace(SPEC, device=Device.CUDA).device is Device.CUDA
    with pytest.raises(ContractError, match="lightgbm trains on cpu or gpu"):
        replace(SPEC, engine=Engine.LIGHTGBM, device=Device.CUDA)


def test_segments_of_a_manifest_must_be_seamless() -> None:
    hole = SegmentFile(segment=1, first_round=150, last_round=200, file="f", sha256="a" * 64, bytes=1)
    with pytest.raises(ContractError, match=r"segments\[1\]\.first_round"):
        replace(MANIFEST, segments=(SEGMENT, hole), round=200, segment=1)


def test_every_failure_reason_has_an_exit_code_that_no_signal_uses() -> None:
    assert set(EXIT_CODES) == set(FailureReason)
    assert all(64 <= code <= 78 for code in EXIT_CODES.values())


@pytest.mark.parametrize("message", ["x" * 10_000, "\n" * 9_000, "ä" * 9_000])
def test_a_long_message_still_fits_the_termination_log(message: str) -> None:
    text = Outcome(job_id="a", reason=FailureReason.BUG, message=message).termination_message()
    assert len(text.encode()) <= 4096
    assert Outcome.from_json(text).reason is FailureReason.BUG


def test_a_checkpoint_policy_is_bounded() -> None:
    with pytest.raises(ContractError, match="max_segment_s"):
        CheckpointPolicy(max_segment_s=0)
