"""Segments of one rank: exact on resume, equal to the library's own continuation, honest about their losses."""

import re
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost

from tests.fakes.snapshots import PARAMS, made_up_rows, spec_for
from tests.integration.boosters.one_rank import OneRank
from trainer.boosters import engine_for
from trainer.boosters.lgbm import library_params as lightgbm_params
from trainer.boosters.metrics import loss_of_predictions, metric_value
from trainer.boosters.xgb import library_params as xgboost_params
from trainer.contract import Engine, Objective
from trainer.data import matrix

BOTH = pytest.mark.parametrize("engine", Engine)
CASES = pytest.mark.parametrize(("engine", "objective"), [(e, o) for e in Engine for o in Objective])


def rank_for(engine: Engine, objective: Objective = Objective.SQUARED_ERROR, **changes: Any) -> OneRank:
    table = made_up_rows(objective=objective)
    return OneRank(spec_for(table, engine, objective=objective, **changes), table)


@CASES
def test_an_interrupted_training_gives_the_same_bytes_and_losses(engine: Engine, objective: Objective) -> None:
    rank = rank_for(engine, objective)
    whole = [rank.segment(number) for number in range(3)]
    rank.restore([whole[0].document])
    rest = [rank.segment(number) for number in (1, 2)]
    assert [s.digest for s in rest] == [s.digest for s in whole[1:]]
    assert [s.document for s in rest] == [s.document for s in whole[1:]]
    assert [(s.validation, s.train) for s in rest] == [(s.validation, s.train) for s in whole[1:]]
    rank.restore([s.document for s in whole[:2]])
    assert rank.segment(2) == whole[2]


@BOTH
def test_another_seed_gives_other_trees(engine: Engine) -> None:
    rank = rank_for(engine)
    first = rank.segment(0)
    rank.booster = rank.built()
    assert rank.segment(1).digest != first.digest


@CASES
def test_losses_are_those_of_what_the_assembled_model_predicts(engine: Engine, objective: Objective) -> None:
    rank = rank_for(engine, objective)
    segments = [rank.segment(number) for number in range(2)]
    documents = [s.document for s in segments]
    sums = [pair for s in segments for pair in s.validation]
    assert len(sums) == 10
    metric = rank.spec.metric
    for rounds in (1, 5, 7, 10):
        model = engine_for(engine).assemble(documents, rounds=rounds)
        expected = loss_of_predictions(metric, rank.validation.target, rank.predict(model, rank.validation))
        assert sums[rounds - 1] == pytest.approx(expected, rel=1e-5)
    model = engine_for(engine).assemble(documents)
    expected = loss_of_predictions(metric, rank.train.target, rank.predict(model, rank.train))
    assert segments[-1].train == pytest.approx(expected, rel=1e-5)
    assert metric_value(metric, *sums[-1]) < 0.9 * metric_value(metric, *sums[0])


@CASES
def test_the_library_itself_continues_to_the_same_predictions(engine: Engine, objective: Objective) -> None:
    rank = rank_for(engine, objective)
    documents = [rank.segment(number).document for number in range(2)]
    features = matrix(rank.validation.features)
    train = matrix(rank.train.features)
    if engine is Engine.XGBOOST:
        params = {**xgboost_params(rank.spec), "base_score": rank.base_score}
        # The very bins of the rank: the same rows in the same batches.
        data = xgboost.QuantileDMatrix(train, rank.train.target, feature_names=list(rank.spec.features))
        first = xgboost.train({**params, "seed": 100}, data, 5)
        continued = xgboost.train({**params, "seed": 101}, data, 5, xgb_model=first)
        expected = continued.inplace_predict(features, validate_features=False)
    else:
        params = lightgbm_params(rank.spec)
        data = lightgbm.Dataset(train, rank.train.target, params=params, feature_name=list(rank.spec.features))
        init = lightgbm.Booster(model_str=documents[0].decode())
        expected = lightgbm.train({**params, "seed": 101}, data, 5, init_model=init).predict(features)
    found = rank.predict(engine_for(engine).assemble(documents), rank.validation)
    assert np.abs(found - expected).max() == 0.0


@CASES
def test_the_assembled_model_is_what_the_library_itself_would_write(engine: Engine, objective: Objective) -> None:
    rank = rank_for(engine, objective)
    documents = [rank.segment(number, rounds=60 if number else 3).document for number in range(2)]
    for model in (
        *documents,
        engine_for(engine).assemble(documents),
        engine_for(engine).assemble(documents, rounds=40),
    ):
        if engine is Engine.XGBOOST:
            assert bytes(xgboost.Booster(model_file=bytearray(model)).save_raw("ubj")) == model
        else:
            assert lightgbm.Booster(model_str=model.decode()).model_to_string().encode() == model


@BOTH
def test_a_cut_model_predicts_as_the_library_does_with_so_many_rounds(engine: Engine) -> None:
    rank = rank_for(engine, Objective.MULTICLASS)
    documents = [rank.segment(number).document for number in range(2)]
    assemble = engine_for(engine).assemble
    features = matrix(rank.validation.features)
    if engine is Engine.XGBOOST:
        booster = xgboost.Booster(model_file=bytearray(assemble(documents)))
        expected = booster.inplace_predict(features, iteration_range=(0, 6), validate_features=False)
    else:
        expected = lightgbm.Booster(model_str=assemble(documents).decode()).predict(features, num_iteration=6)
    assert np.array_equal(rank.predict(assemble(documents, rounds=6), rank.validation), expected)
    assert assemble(documents, rounds=10) == assemble(documents)
    for rounds in (0, 11):
        with pytest.raises(ValueError, match=f"cannot cut a model of 10 rounds to {rounds}"):
            assemble(documents, rounds=rounds)
    with pytest.raises(ValueError, match="no segments"):
        assemble([])


@BOTH
def test_documents_of_other_models_are_not_put_together(engine: Engine) -> None:
    first = rank_for(engine).segment(0).document
    other = rank_for(engine, Objective.BINARY_LOGISTIC).segment(0).document
    with pytest.raises(ValueError, match="segment 1 has "):
        engine_for(engine).assemble([first, other])
    for broken in (b"", b"tree\n", first[: len(first) // 2], b"{}"):
        with pytest.raises(ValueError, match="is no |is UBJSON"):
            engine_for(engine).assemble([broken])


@BOTH
def test_without_validation_rows_there_are_no_losses(engine: Engine) -> None:
    expected = rank_for(engine).segment(0)
    found = rank_for(engine, validation_split=None).segment(0)
    assert found.document == expected.document
    assert found.validation == ((0.0, 0.0),) * 5


@BOTH
def test_every_round_is_reported(engine: Engine) -> None:
    rounds: list[int] = []
    rank_for(engine).segment(0, on_round=lambda done: not rounds.append(done))
    assert rounds == [1, 2, 3, 4, 5]


def test_a_lightgbm_document_says_nothing_about_where_it_was_trained() -> None:
    text = rank_for(Engine.LIGHTGBM, threads=2).segment(0).document.decode()
    names = set(re.findall(r"^\[(\w+): ", text, re.MULTILINE))
    assert {"learning_rate", "num_leaves", "bagging_fraction"} <= names
    assert not {n for n in names if re.search("machine|_port|thread|seed|device|time_out|learner|iterations", n)}


def test_rounds_in_which_lightgbm_finds_no_split_are_rounds_all_the_same() -> None:
    params = {**PARAMS[Engine.LIGHTGBM], "min_data_in_leaf": 2000}
    rank = rank_for(Engine.LIGHTGBM, params=params)
    segments = [rank.segment(number, rounds=3) for number in range(2)]
    model = engine_for(Engine.LIGHTGBM).assemble([s.document for s in segments])
    assert lightgbm.Booster(model_str=model.decode()).num_trees() == 6
    assert [len(s.validation) for s in segments] == [3, 3]
    assert rank.predict(model, rank.validation) == pytest.approx(rank.base_score)
    rank.restore([segments[0].document])
    assert rank.segment(1, rounds=3) == segments[1]


def test_xgboost_keeps_trees_that_grow_together_together() -> None:
    params = {**PARAMS[Engine.XGBOOST], "num_parallel_tree": 3}
    rank = rank_for(Engine.XGBOOST, Objective.MULTICLASS, params=params)
    documents = [rank.segment(number, rounds=2).document for number in range(2)]
    booster = xgboost.Booster(model_file=bytearray(engine_for(Engine.XGBOOST).assemble(documents, rounds=3)))
    assert booster.num_boosted_rounds() == 3
    assert len(booster.get_dump()) == 3 * 3 * 3
    rank.restore([documents[0]])
    assert rank.segment(1, rounds=2).document == documents[1]
