"""An evaluation from spec to document, with a model that is a column's name."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from trainer.contract import (
    Breakdown,
    ChampionModel,
    Engine,
    EvaluationResult,
    EvaluationSpec,
    FailureReason,
    Objective,
    Outcome,
    TrainingFailure,
    TrainingRows,
)
from trainer.contract.objects import sha256
from trainer.evaluate import evaluation
from trainer.evaluate.__main__ import main
from trainer.evaluate.evaluation import Model, score_table

MODEL = b"a"
ROWS = pa.table(
    {
        "a": [1.0, 4.0, 3.0, None],
        "b": [0.0] * 4,
        "target": [1.0, 2.0, 4.0, None],
        "group_id": ["monza", "spa", "spa", "spa"],
        "by_season": ["2025", "2025", "2026", "2026"],
    }
)
SHARDS = np.repeat([1, 3], 50)
TRAINING = pa.table(
    {
        "a": np.tile(np.arange(50.0) / 10, 2),
        "b": np.zeros(100),
        "target": np.tile(np.arange(50.0) / 5 - 1, 2),
        "shard": SHARDS,
        "row_key": np.arange(100)[::-1],
    }
)
TABLES = {"p.d.t": ROWS, "p.d.training": TRAINING}


def champion(folder: Path, document: bytes = b"b", features: tuple[str, ...] = ("a", "b")) -> ChampionModel:
    (folder / "champion.ubj").write_bytes(document)
    return ChampionModel(
        version="1",
        engine=Engine.LIGHTGBM,
        model_uri=(folder / "champion.ubj").as_uri(),
        model_sha256=sha256(document),
        features=features,
    )


class ColumnEngine:
    """Predicts the column that the model's bytes name."""

    def predict(self, document: bytes, features: Any, threads: int = 1) -> Any:
        assert features.dtype == np.float32
        return features[:, ["a", "b"].index(document.decode())].astype(float)

    def predictor(self, document: bytes, threads: int = 1) -> Any:
        return lambda features: self.predict(document, features, threads)

    def contributions(self, document: bytes, features: Any, threads: int = 1) -> Any:
        return np.where(np.arange(features.shape[1]) == ["a", "b"].index(document.decode()), features, 0.0)


def _read(table: str, columns: Any, restriction: str) -> pa.Table:
    expected = {"p.d.t": "split = 'test'", "p.d.training": "split = 'train' AND shard IN (1, 3)"}
    assert restriction == expected[table]
    return TABLES[table].select(list(columns))


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "engine_for", lambda _engine: ColumnEngine())
    monkeypatch.setattr(evaluation, "read_table", _read)


@pytest.fixture
def spec(tmp_path: Path) -> EvaluationSpec:
    (tmp_path / "booster.ubj").write_bytes(MODEL)
    return EvaluationSpec(
        job_id="job",
        model_type="m",
        engine=Engine.XGBOOST,
        objective=Objective.ABSOLUTE_ERROR,
        model_uri=(tmp_path / "booster.ubj").as_uri(),
        model_sha256=sha256(MODEL),
        features=("a", "b"),
        table="p.d.t",
        split="test",
        output=(tmp_path / "metrics.json").as_uri(),
        baseline=2.0,
        unit="ms",
    )


def test_the_document_says_what_was_found(spec: EvaluationSpec, tmp_path: Path) -> None:
    result, uri = evaluation.evaluate(spec)
    assert uri == spec.output
    assert EvaluationResult.from_json((tmp_path / "metrics.json").read_bytes()) == result
    assert (result.rows, result.unit) == (3, "ms")
    assert result.metrics["test_mae"] == pytest.approx(1.0)
    assert [(g.group, g.rows) for g in result.by_group] == [("monza", 1), ("spa", 2)]


def test_a_linear_model_is_scored_on_the_same_rows(spec: EvaluationSpec) -> None:
    wanted = TrainingRows(table="p.d.training", split="train", shards=(1, 3), most=60)
    result, _ = evaluation.evaluate(replace(spec, linear=wanted))
    found = result.linear
    assert found is not None
    assert (found.metric, found.own, found.rows) == ("test_mae", result.metrics["test_mae"], 60)
    # It learns 2a - 1, which at 1, 4 and 3 is 1, 7 and 5; targets are 1, 2 and 4.
    assert found.linear == pytest.approx((0 + 5 + 1) / 3, abs=0.1)
    assert result.metrics["linear_mae"] == found.linear
    assert found.difference == pytest.approx(found.own - found.linear)
    assert found.interval.high <= 0, "of both races the model is the better one"
    assert EvaluationResult.from_json(result.to_json()) == result


def test_a_linear_classifier_is_compared_by_log_loss_and_f1(
    spec: EvaluationSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ROWS.set_column(0, "a", pa.array([0.2, 0.9, 0.4, None])).set_column(2, "target", pa.array([0.0, 1, 1, None]))
    training = TRAINING.set_column(2, "target", pa.array(np.tile((np.arange(50) > 24) * 1.0, 2)))
    monkeypatch.setitem(TABLES, "p.d.t", rows)
    monkeypatch.setitem(TABLES, "p.d.training", training)
    wanted = TrainingRows(table="p.d.training", split="train", shards=(1, 3), most=1000)
    result, _ = evaluation.evaluate(replace(spec, linear=wanted, objective=Objective.BINARY_LOGISTIC))
    assert result.linear is not None
    assert (result.linear.metric, result.linear.rows) == ("log_loss", 100)
    assert result.linear.own == pytest.approx(-np.log([0.8, 0.9, 0.4]).mean())
    assert result.metrics["linear_log_loss"] == result.linear.linear
    assert result.metrics["linear_macro_f1"] == pytest.approx((0.5 + 0) / 2), "no row reaches the boundary, 2.45"
    assert result.details is not None
    assert result.details.confusion == ((1, 0), (1, 1))


def test_the_error_is_broken_down_by_columns_that_are_no_features(spec: EvaluationSpec) -> None:
    result, _ = evaluation.evaluate(replace(spec, breakdowns=(Breakdown(name="season", column="season"),)))
    assert [(g.group, g.rows, g.value) for g in result.breakdowns["season"]] == [("2025", 2, 1.0), ("2026", 1, 1.0)]
    assert EvaluationResult.from_json(result.to_json()) == result


def test_another_result_is_not_replaced(spec: EvaluationSpec, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("of an earlier snapshot")
    result, uri = evaluation.evaluate(spec)
    assert (tmp_path / "metrics.json").read_text() == "of an earlier snapshot"
    assert uri != spec.output
    assert EvaluationResult.from_json(Path(uri.removeprefix("file://")).read_bytes()) == result
    assert evaluation.evaluate(spec) == (result, uri), "the same again changes nothing"


def test_the_program_reads_its_spec_from_the_environment(
    spec: EvaluationSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.evaluate.__main__.exit_within", lambda _code: None)
    monkeypatch.setenv("EVALUATION_SPEC", spec.to_json())
    monkeypatch.setenv("TRAINING_TERMINATION_LOG", str(tmp_path / "log"))
    assert main([]) == os.EX_OK
    assert Outcome.from_json((tmp_path / "log").read_text()).result_uri == spec.output
    monkeypatch.setenv("EVALUATION_SPEC", "")
    assert main([]) == os.EX_CONFIG
    assert "EVALUATION_SPEC" in Outcome.from_json((tmp_path / "log").read_text()).message
    assert main(["--nonsense"]) == os.EX_CONFIG


def test_another_model_than_the_spec_names_is_refused(spec: EvaluationSpec, tmp_path: Path) -> None:
    (tmp_path / "booster.ubj").write_bytes(b"b")
    with pytest.raises(TrainingFailure, match="is not the model that was trained") as caught:
        evaluation.evaluate(spec)
    assert caught.value.reason is FailureReason.DATA_INVALID
    assert not (tmp_path / "metrics.json").exists()


def test_a_model_that_is_not_there_is_named(spec: EvaluationSpec) -> None:
    with pytest.raises(TrainingFailure, match="absent: there is no such model"):
        evaluation.evaluate(replace(spec, model_uri=spec.model_uri + ".absent"))


MODEL_OF_A = Model(engine=Engine.XGBOOST, objective=Objective.ABSOLUTE_ERROR, document=MODEL, features=("a", "b"))


def test_missing_columns_are_named() -> None:
    with pytest.raises(TrainingFailure, match="the rows lack the columns b, group_id"):
        score_table(MODEL_OF_A, ROWS.select(["a", "target"]), target="target")


@pytest.mark.parametrize("rows", [ROWS.slice(3), ROWS.slice(0, 0)])
def test_rows_without_any_target_cannot_be_scored(rows: pa.Table) -> None:
    with pytest.raises(TrainingFailure, match="there is nothing to score"):
        score_table(MODEL_OF_A, rows, target="target")


def test_the_champion_is_scored_on_the_same_rows(spec: EvaluationSpec, tmp_path: Path) -> None:
    result, _ = evaluation.evaluate(replace(spec, champion=champion(tmp_path)))
    found = result.comparison
    assert found is not None
    assert (found.version, found.metric, found.own) == ("1", "test_mae", result.metrics["test_mae"])
    assert found.champion == pytest.approx((1 + 2 + 4) / 3)
    assert found.difference == pytest.approx(found.own - found.champion)
    assert EvaluationResult.from_json(result.to_json()) == result


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"features": ("a", "c")}, "its features c are not among the rows of this run"),
        ({"model_sha256": "0" * 64}, "is not the model that was trained"),
        ({"model_uri": "file:///no/such/model"}, "there is no such model"),
    ],
)
def test_a_champion_that_cannot_be_scored_is_a_finding(
    spec: EvaluationSpec, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    result, _ = evaluation.evaluate(replace(spec, champion=replace(champion(tmp_path), **change)))
    assert result.comparison is not None
    assert problem in result.comparison.problem
    assert result.comparison.interval is None
    assert result.rows == 3


def test_a_storage_that_is_away_is_no_finding(
    spec: EvaluationSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = evaluation._download

    def away(uri: str, expected: str) -> bytes:
        if "champion" in uri:
            raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, "away")
        return download(uri, expected)

    monkeypatch.setattr(evaluation, "_download", away)
    with pytest.raises(TrainingFailure, match="away"):
        evaluation.evaluate(replace(spec, champion=champion(tmp_path)))
