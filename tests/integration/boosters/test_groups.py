"""Three ranks as real processes: equal bytes after an interruption, on a second run, and on every rank."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.fakes.snapshots import made_up_rows, spec_for
from tests.integration.boosters.one_rank import OneRank
from tests.integration.boosters.ranks import Ranks, fill_cache
from trainer.boosters import engine_for
from trainer.boosters.metrics import loss_of_predictions
from trainer.contract import Engine, FailureReason, Objective, TrainingFailure, TrainingSpec
from trainer.data import deal_shards

pytestmark = pytest.mark.timeout(400)
WORLD = 3


def spec_and_rows(engine: Engine, cache: Path, **changes: Any) -> tuple[TrainingSpec, pa.Table]:
    table = made_up_rows(objective=changes.get("objective", Objective.ABSOLUTE_ERROR))
    spec = spec_for(table, engine, num_workers=WORLD, **{"objective": Objective.ABSOLUTE_ERROR, **changes})
    fill_cache(cache, spec, table)
    return spec, table


@pytest.mark.parametrize(
    ("engine", "objective"),
    [
        (Engine.XGBOOST, Objective.ABSOLUTE_ERROR),
        (Engine.LIGHTGBM, Objective.ABSOLUTE_ERROR),
    ],
)
def test_a_resumed_group_gives_the_same_bytes(tmp_path: Path, engine: Engine, objective: Objective) -> None:
    spec, table = spec_and_rows(engine, tmp_path, objective=objective)
    with Ranks(spec, WORLD, tmp_path) as ranks:
        loaded = ranks.form()
        assert sum(reply["rows"]["train"] for reply in loaded) == spec.snapshot.total("train")
        whole, sums = ranks.segments(0, 3, 5)
        train = ranks.last_train
        ranks.all("leave", lambda _: {})
    with Ranks(spec, WORLD, tmp_path) as ranks:
        ranks.form()
        # A second run of the same segment, before its model is restored and training goes on from there.
        assert ranks.segments(0, 1, 5)[0] == whole[:1]
        ranks.all("restore", lambda _: {"round": 5}, engine_for(engine).assemble(whole[:1]))
        rest, rest_sums = ranks.segments(1, 2, 5)
    assert rest == whole[1:]
    assert np.array_equal(rest_sums, sums[5:])
    _losses_are_true(OneRank(spec, table), whole, sums[-1], train)


def _losses_are_true(rank: OneRank, documents: list[bytes], validation: Any, train: Any) -> None:
    model, metric = engine_for(rank.spec.engine).assemble(documents), rank.spec.metric
    for rows, found in ((rank.validation, validation), (rank.train, train)):
        expected = loss_of_predictions(metric, rows.target, rank.predict(model, rows))
        assert tuple(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("engine", Engine)
def test_a_rank_without_validation_rows_takes_part(tmp_path: Path, engine: Engine) -> None:
    spec, _ = spec_and_rows(engine, tmp_path)
    dealt = list(deal_shards(spec.snapshot.rows, range(2)).values())
    dealt[0]["validation"], dealt[1]["validation"] = [], list(range(spec.snapshot.logical_shards))
    with Ranks(spec, 2, tmp_path) as ranks:
        loaded = ranks.form(dealt)
        assert [reply["rows"]["validation"] for reply in loaded] == [0, spec.snapshot.total("validation")]
        first, sums = ranks.segments(0, 1, 5)
        ranks.all("restore", lambda _: {"round": 5}, engine_for(engine).assemble(first))
        ranks.segments(1, 1, 5)
    assert [weight for _, weight in sums] == [spec.snapshot.total("validation")] * 5


@pytest.mark.parametrize("engine", Engine)
def test_survivors_of_a_killed_rank_end_or_are_killed(tmp_path: Path, engine: Engine) -> None:
    spec, _ = spec_and_rows(engine, tmp_path)
    with Ranks(spec, 2, tmp_path) as ranks:
        ranks.form()
        ranks.processes[1].kill()
        arguments = {"segment": 0, "first_round": 0, "rounds": 1000, "seed": 1}
        # XGBoost says so; LightGBM may wait for ever, and is killed by whoever waits for it.
        with pytest.raises(Exception, match=r"lost its peers|did not answer") as caught:
            ranks.processes[0].call("train", arguments, timeout_s=3)
        if engine is Engine.XGBOOST:
            assert isinstance(caught.value, TrainingFailure)
            assert caught.value.reason is FailureReason.NETWORK_PARTITION


def test_a_rank_without_training_rows_is_a_wrong_configuration(tmp_path: Path) -> None:
    spec, _ = spec_and_rows(Engine.XGBOOST, tmp_path)
    with Ranks(spec, 1, tmp_path) as ranks, pytest.raises(TrainingFailure, match="num_workers") as caught:
        ranks.form([{"train": [], "validation": [0]}], base_score=1.0)
    assert caught.value.reason is FailureReason.CONFIG_INVALID
