"""Registering stores what was trained and promotes it only if it beats the naive baseline."""

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from f1_training.core.plan import RunPlan
from f1_training.operators import RegisterModelOperator
from f1_training.registry.store import Registry
from tests.fakes.run_plan import (
    BOOSTER,
    evaluation_result,
    held_out_snapshot,
    make_plan,
    settings,
    training_result,
    training_snapshot,
)
from trainer.contract.fields import encode


def operator(plan: RunPlan, mae: float = 557.0, booster: bytes = BOOSTER) -> RegisterModelOperator:
    """The task after training and evaluation wrote what they write."""
    folder = Path(plan.artifacts_uri.removeprefix("file://"))
    folder.mkdir(parents=True, exist_ok=True)
    result = training_result(plan)
    (folder / "booster.ubj").write_bytes(booster)
    (folder / "result.json").write_text(result.to_json())
    (folder / "metrics.json").write_text(evaluation_result(plan, result, mae).to_json())
    return RegisterModelOperator(
        task_id="register",
        plan=plan.to_xcom(),
        snapshots={"training": encode(training_snapshot(plan)), "evaluation": encode(held_out_snapshot(plan))},
        trained={"result_uri": f"{plan.artifacts_uri}/result.json", "attempt": 1},
        evaluated={"evaluation_uri": f"{plan.artifacts_uri}/metrics.json"},
    )


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    return make_plan(settings(f"file://{tmp_path}"))


def test_a_good_model_is_champion(plan: RunPlan) -> None:
    made: dict[str, Any] = operator(plan).execute({})
    assert (made["version"], made["champion"]) == (plan.model_version, True)
    assert made["metrics"]["test_mae_ms"] == 557.0
    assert made["lineage_summary"] == ["started at round 0 with 2 workers"]
    assert Path(made["model_uri"].removeprefix("file://")).read_bytes() == BOOSTER
    champion = Registry(plan.settings.uris.models).champion("tire_degradation")
    assert champion is not None
    assert champion.version == plan.model_version
    assert champion.card.spec.job_id == plan.job_id


def test_doing_it_again_changes_nothing(plan: RunPlan) -> None:
    assert operator(plan).execute({}) == operator(plan).execute({})
    assert len(Registry(plan.settings.uris.models).history("tire_degradation")) == 1


def test_a_model_that_is_no_better_than_guessing_is_kept_but_not_promoted(plan: RunPlan) -> None:
    made = operator(plan, mae=810.0).execute({})
    assert made["champion"] is False
    assert "does not beat the naive baseline's 807 ms" in made["reason"]
    registry = Registry(plan.settings.uris.models)
    assert registry.versions("tire_degradation") == [plan.model_version]
    assert registry.champion("tire_degradation") is None


def test_an_older_run_does_not_push_out_a_newer_champion(plan: RunPlan) -> None:
    from dataclasses import replace

    newer = replace(plan, model_version="20270101-000000-ffffff")
    operator(newer).execute({})
    made = operator(plan).execute({})
    assert made["champion"] is False
    assert "version 20270101-000000-ffffff, which is newer, is champion already" in made["reason"]


def test_a_dry_run_registers_nothing(tmp_path: Path) -> None:
    plan = make_plan(settings(f"file://{tmp_path}"), dry_run=True)
    with pytest.raises(AirflowSkipException, match="never registered"):
        operator(plan).execute({})
    assert not (tmp_path / "models").exists()


def test_a_booster_that_was_exchanged_is_refused(plan: RunPlan) -> None:
    with pytest.raises(AirflowFailException, match="^Bug: the booster of .* is not the one that its card names"):
        operator(plan, booster=b"exchanged").execute({})
