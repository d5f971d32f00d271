"""Registering stores what was trained and promotes it only if it beats the naive baseline."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from f1_training.core.plan import RunPlan
from f1_training.operators import RegisterModelOperator
from f1_training.operators.register import CHAMPIONS
from f1_training.registry.store import Registry
from tests.fakes.run_plan import (
    BOOSTER,
    compared,
    evaluation_result,
    held_out_snapshot,
    make_plan,
    settings,
    training_result,
    training_snapshot,
)
from trainer.contract import Comparison
from trainer.contract.fields import encode


def operator(
    plan: RunPlan, mae: float = 557.0, booster: bytes = BOOSTER, comparison: Comparison | None = None
) -> RegisterModelOperator:
    """The task after training and evaluation wrote what they write."""
    folder = Path(plan.artifacts_uri.removeprefix("file://"))
    folder.mkdir(parents=True, exist_ok=True)
    result = training_result(plan)
    (folder / "booster.ubj").write_bytes(booster)
    (folder / "result.json").write_text(result.to_json())
    (folder / "metrics.json").write_text(evaluation_result(plan, result, mae, comparison).to_json())
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


def test_what_the_run_cost_by_list_prices_is_in_the_card_and_the_report(plan: RunPlan) -> None:
    made = operator(plan).execute({})
    cost = Registry(plan.settings.uris.models).model("tire_degradation", plan.model_version).card.cost
    assert cost is not None
    assert made["cost"] == encode(cost)
    # 42 s, and a node is paid for 780 s more.
    assert cost.hours == pytest.approx(822 / 3600, abs=1e-4)
    assert "estimated with list prices of us-central1" in cost.basis
    assert cost.told() in Path(made["report_uri"].removeprefix("file://")).read_text()


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
    newer = replace(plan, model_version="20270101-000000-ffffff")
    operator(newer).execute({})
    made = operator(plan).execute({})
    assert made["champion"] is False
    assert "version 20270101-000000-ffffff, which is newer, is champion already" in made["reason"]


def later(plan: RunPlan, hour: int) -> RunPlan:
    """A run of the same model, ``hour`` o'clock on a later day."""
    version = f"20270101-{hour:02d}0000-ffffff"
    return replace(plan, model_version=version, run_id=version, job_id=f"{plan.job_id}-{hour}")


@pytest.mark.parametrize(
    ("low", "high", "promoted", "said"),
    [
        (-9.0, -1.0, True, "beats the champion"),
        (0.0, 0.0, False, "is no better than the champion"),
        (-3.0, 2.0, False, "is no better than the champion"),
        (1.0, 9.0, False, "is worse than the champion"),
    ],
)
def test_only_what_beats_the_champion_beyond_the_noise_replaces_it(
    plan: RunPlan, low: float, high: float, promoted: bool, said: str
) -> None:
    operator(plan).execute({})
    challenger = later(plan, 9)
    made = operator(challenger, comparison=compared(plan.model_version, low, high)).execute({})
    assert (made["champion"], said in made["reason"]) == (promoted, True)
    registry = Registry(plan.settings.uris.models)
    assert registry.versions("tire_degradation") == [plan.model_version, challenger.model_version]
    champion = registry.champion("tire_degradation")
    assert champion is not None
    assert champion.version == (challenger if promoted else plan).model_version


def test_of_two_promotions_at_once_one_wins_and_the_other_reports_the_conflict(plan: RunPlan) -> None:
    operator(plan).execute({})
    first, second = later(plan, 9), later(plan, 10)
    both = compared(plan.model_version, -9.0, -5.0)
    assert operator(first, comparison=both).execute({})["champion"] is True
    made = operator(second, comparison=both).execute({})
    assert made["champion"] is False
    assert f"conflict: it was compared with {plan.model_version}" in made["reason"]
    assert f"the champion is {first.model_version}; clear the tasks evaluate and register" in made["reason"]


def test_a_champion_that_cannot_be_compared_is_replaced_and_it_is_said(plan: RunPlan) -> None:
    operator(plan).execute({})
    problem = Comparison(version=plan.model_version, problem="its features fuel_kg are not among the rows of this run")
    made = operator(later(plan, 9), comparison=problem).execute({})
    assert made["champion"] is True
    assert "cannot be compared: its features fuel_kg are not among the rows" in made["reason"]


def test_a_promotion_is_an_event_of_the_model_s_asset(plan: RunPlan) -> None:
    added: list[Any] = []
    events = SimpleNamespace(add=lambda asset, extra: added.append((asset.name, extra["version"])))
    operator(plan).execute({"outlet_events": {CHAMPIONS: events}})
    assert added == [("f1_model.tire_degradation.champion", plan.model_version)]
    operator(later(plan, 9), comparison=compared(plan.model_version, 1.0, 2.0)).execute(
        {"outlet_events": {CHAMPIONS: events}}
    )
    assert len(added) == 1


def test_a_dry_run_registers_nothing(tmp_path: Path) -> None:
    plan = make_plan(settings(f"file://{tmp_path}"), dry_run=True)
    with pytest.raises(AirflowSkipException, match="never registered"):
        operator(plan).execute({})
    assert not (tmp_path / "models").exists()


def test_a_booster_that_was_exchanged_is_refused(plan: RunPlan) -> None:
    with pytest.raises(AirflowFailException, match="^Bug: the booster of .* is not the one that its card names"):
        operator(plan, booster=b"exchanged").execute({})
