"""The document that an evaluation writes."""

from dataclasses import replace
from pathlib import Path

import pytest

from trainer.contract import ContractError, EvaluationResult, GroupScore, Interval

GOLDEN = Path(__file__).parents[2] / "golden" / "contract" / "evaluation-result.v1.json"
RESULT = EvaluationResult(
    job_id="tire-degradation-3f2a91c4",
    model_type="tire_degradation",
    model_uri="gs://artifacts/job/booster.ubj",
    model_sha256="c" * 64,
    table="f1.f1_evaluation.tire",
    split="test",
    rows=3,
    metrics={"test_mae": 557.0, "baseline_mae": 807.0, "rmse": 900.0},
    by_group=(GroupScore(group="2025-01", rows=2, value=500.0), GroupScore(group="2025-02", rows=1, value=671.0)),
    intervals={"test_mae": Interval(low=540.0, high=575.0)},
    unit="ms",
)


def test_the_golden_document_of_version_1_still_reads() -> None:
    assert EvaluationResult.from_json(GOLDEN.read_text()) == RESULT
    assert EvaluationResult.from_json(RESULT.to_json()) == RESULT


def test_a_document_of_before_there_were_several_curves_still_reads() -> None:
    read = EvaluationResult.from_json(GOLDEN.with_name("evaluation-result-one-curve.v1.json").read_text())
    assert read.details is not None
    (curve,) = read.details.drawn
    assert (curve.feature, curve.unit, curve.rises, curve.slope) == ("tire_age_laps", "laps", True, 26.5)
    assert EvaluationResult.from_json(read.to_json()).details == read.details


def test_groups_must_add_up() -> None:
    with pytest.raises(ContractError, match="rows: is 4, the groups have 3"):
        replace(RESULT, rows=4)


def test_an_interval_is_ordered() -> None:
    with pytest.raises(ContractError, match="low"):
        Interval(low=2.0, high=1.0)
