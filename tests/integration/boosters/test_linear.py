"""XGBoost's linear booster: exact on resume, predicted and explained like any other, on one worker only."""

from typing import Any

import numpy as np
import pytest
import xgboost

from tests.fakes.snapshots import made_up_rows, spec_for
from tests.integration.boosters.one_rank import OneRank
from trainer.boosters import engine_for
from trainer.boosters.engine import Group
from trainer.boosters.metrics import loss_of_predictions
from trainer.boosters.xgb import library_params
from trainer.contract import ContractError, Device, Engine, FailureReason, Metric, Objective, TrainingFailure
from trainer.data import matrix

LINEAR = {"booster": "gblinear", "learning_rate": 0.8}
OBJECTIVES = [Objective.SQUARED_ERROR, Objective.BINARY_LOGISTIC, Objective.MULTICLASS]


def rank_for(objective: Objective = Objective.SQUARED_ERROR, **changes: Any) -> OneRank:
    table = made_up_rows(objective=objective)
    return OneRank(spec_for(table, Engine.XGBOOST, objective=objective, **{"params": LINEAR, **changes}), table)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_interrupted_training_gives_the_same_bytes_and_losses(objective: Objective) -> None:
    rank = rank_for(objective)
    whole = [rank.segment(number) for number in range(3)]
    assert len({s.digest for s in whole}) == 3
    for done in (1, 2):
        rank.restore([s.document for s in whole[:done]])
        assert [rank.segment(number) for number in range(done, 3)] == whole[done:]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_losses_are_those_of_what_the_model_predicts(objective: Objective) -> None:
    rank = rank_for(objective)
    segments = [rank.segment(number) for number in range(2)]
    model = engine_for(Engine.XGBOOST).assemble([s.document for s in segments], rounds=10)
    for rows, found in ((rank.validation, segments[1].validation[-1]), (rank.train, segments[1].train)):
        expected = loss_of_predictions(rank.spec.metric, rows.target, rank.predict(model, rows))
        assert found == pytest.approx(expected, rel=1e-5)


def test_the_library_itself_comes_to_the_same_predictions() -> None:
    rank = rank_for()
    documents = [rank.segment(number).document for number in range(2)]
    data = xgboost.DMatrix(matrix(rank.train.features), rank.train.target)
    expected = xgboost.train({**library_params(rank.spec), "base_score": rank.base_score}, data, 10)
    features = matrix(rank.validation.features)
    found = rank.predict(engine_for(Engine.XGBOOST).assemble(documents), rank.validation)
    assert found == pytest.approx(expected.predict(xgboost.DMatrix(features)), abs=1e-4)


def test_contributions_are_weight_times_value() -> None:
    rank = rank_for()
    model = rank.segment(0, rounds=30).document
    features = matrix(rank.validation.features)[:50]
    found = engine_for(Engine.XGBOOST).contributions(model, features)
    change = features.copy()
    change[:, 0] += 1
    slope = (rank_predict(model, change) - rank_predict(model, features))[~np.isnan(features[:, 0])]
    known = found[~np.isnan(features[:, 0]), 0] / features[~np.isnan(features[:, 0]), 0]
    assert known == pytest.approx(slope, rel=1e-2)


def rank_predict(model: bytes, features: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return engine_for(Engine.XGBOOST).predict(model, features)


def test_it_cannot_be_cut_to_an_earlier_round() -> None:
    rank = rank_for()
    documents = [rank.segment(number).document for number in range(2)]
    with pytest.raises(ValueError, match="cannot cut a linear model of 10 rounds to 7"):
        engine_for(Engine.XGBOOST).assemble(documents, rounds=7)


def test_a_segment_that_is_stopped_counts_the_rounds_it_did() -> None:
    rank = rank_for()
    document = rank.segment(0, on_round=lambda done: done < 3).document
    assert engine_for(Engine.XGBOOST).assemble([document], rounds=3) == document


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_workers": 2}, r"num_workers: is 2; XGBoost does not distribute gblinear, and says nothing: take 1"),
        ({"early_stopping_rounds": 5}, r"early_stopping_rounds: is 5; a linear model cannot be cut"),
        ({"device": Device.CUDA}, r"device: is 'cuda'; gblinear trains on cpu"),
        ({"objective": Objective.ABSOLUTE_ERROR, "metric": Metric.MAE}, r"objective: is 'absolute_error'; gblinear"),
    ],
)
def test_what_it_cannot_do_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        spec_for(made_up_rows(rows=60), Engine.XGBOOST, **{"params": LINEAR, **changes})


@pytest.mark.parametrize("name", ["updater", "feature_selector", "tree_method", "max_depth", "nthread"])
def test_parameters_of_trees_or_of_another_order_are_refused(name: str) -> None:
    spec = spec_for(made_up_rows(rows=60), Engine.XGBOOST, params={**LINEAR, name: 1})
    with pytest.raises(TrainingFailure, match=rf"params\.{name}: ") as caught:
        engine_for(Engine.XGBOOST).check_params(spec)
    assert caught.value.reason is FailureReason.CONFIG_INVALID


def test_two_ranks_are_refused_where_they_would_meet() -> None:
    with pytest.raises(TrainingFailure, match="num_workers: is 2"):
        rank_for().booster.join(Group(rank=0, world=2, tracker={}))
