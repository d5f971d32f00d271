"""A card tells where a model comes from, and metrics have plain names with their unit."""

from dataclasses import replace

import pytest

from f1_training.core.specs import training_spec
from f1_training.registry.card import Inputs, ModelCard, lineage_summary, metrics_shown, model_card
from f1_training.registry.promotion import decide
from tests.fakes.run_plan import evaluation_result, held_out_snapshot, make_plan, training_result, training_snapshot
from trainer.contract import ContractError, Curve, Details, GroupChange, Interval, LineageEvent

PLAN = make_plan()
RESULT = training_result(PLAN)
EVALUATION = evaluation_result(PLAN, RESULT)
INPUTS = Inputs(spec=training_spec(PLAN, training_snapshot(PLAN), 1), test_snapshot=held_out_snapshot(PLAN))
CARD = model_card(PLAN, INPUTS, RESULT, EVALUATION)


def test_a_card_survives_being_written() -> None:
    assert ModelCard.from_json(CARD.to_json()) == CARD


def test_what_was_evaluated_must_be_what_was_trained() -> None:
    with pytest.raises(ContractError, match="sha256"):
        model_card(PLAN, INPUTS, RESULT, replace(EVALUATION, model_sha256="0" * 64))


def test_metrics_of_a_regression() -> None:
    assert metrics_shown(CARD) == {
        "final_loss": 561.25,
        "train": 540.5,
        "validation": 561.25,
        "test": 557.0,
        "test_mae_ms": 557.0,
        "baseline_mae_ms": 807.0,
        "rmse_ms": 800.0,
    }


def test_metrics_of_a_classifier_and_of_a_target_without_a_unit() -> None:
    found = replace(EVALUATION, metrics={"accuracy": 0.8, "baseline_accuracy": 0.5, "log_loss": 0.4}, unit="")
    shown = metrics_shown(replace(CARD, evaluation=found, unit=""))
    assert (shown["final_accuracy"], shown["test"], shown["baseline_accuracy"]) == (0.8, 0.8, 0.5)


def test_without_a_validation_split_the_loss_is_the_training_s() -> None:
    assert metrics_shown(replace(CARD, result=replace(RESULT, metrics={"train": 540.5})))["final_loss"] == 540.5


def test_lineage_in_words() -> None:
    group = RESULT.lineage[0].group
    events = (
        RESULT.lineage[0],
        LineageEvent(change=GroupChange.RESUMED, round=300, epoch=2, at="x", group=group, detail="passed over: y"),
        LineageEvent(change=GroupChange.CUT_SHORT, round=350, epoch=2, at="x", group=group),
    )
    assert lineage_summary(events) == [
        "started at round 0 with 2 workers",
        "resumed at round 300 with 2 workers (passed over: y)",
        "cut short at round 350 with 2 workers",
    ]


@pytest.mark.parametrize(
    ("metrics", "promote", "reason"),
    [
        ({"test_mae": 557.0, "baseline_mae": 807.0}, True, "test_mae 557 ms beats the naive baseline's 807 ms"),
        ({"test_mae": 807.0, "baseline_mae": 807.0}, False, "test_mae 807 ms does not beat"),
        ({"test_mae": 900.0, "baseline_mae": 807.0}, False, "does not beat"),
        ({"accuracy": 0.8, "baseline_accuracy": 0.5}, True, "accuracy 0.8 beats the naive baseline's 0.5"),
        ({"accuracy": 0.5, "baseline_accuracy": 0.5}, False, "does not beat"),
        ({"rmse": 1.0}, False, "no metric that compares"),
    ],
)
def test_what_is_promoted(metrics: dict[str, float], promote: bool, reason: str) -> None:
    decision = decide(replace(EVALUATION, metrics=metrics))
    assert decision.promote is promote
    assert reason in decision.reason


def test_a_metric_that_is_not_a_number_is_not_promoted() -> None:
    assert not decide(replace(EVALUATION, metrics={"test_mae": float("nan"), "baseline_mae": 807.0})).promote


def curve(name: str, slope: float) -> Curve:
    return Curve(
        name=name, rows=9, at=(1.0, 35.0), mean=(0.0, 34 * slope), low=(0.0, 0.0), high=(0.0, 0.0), slope=slope,
        slope_interval=Interval(low=slope, high=slope),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("slopes", "rises", "promoted"),
    [((30.0, 1.0), True, True), ((30.0, -1.0), True, False), ((-1.0, -1.0), False, True)],
)
def test_what_physics_says_of_a_curve_must_hold(slopes: tuple[float, ...], rises: bool, promoted: bool) -> None:
    curves = tuple(curve(f"C{n}", slope) for n, slope in enumerate(slopes))
    details = Details(effects={}, effect_rows=1, curves=curves, curve_feature="tire_age_laps", curve_rises=rises)
    metrics = {"test_mae": 557.0, "baseline_mae": 807.0}
    decision = decide(replace(EVALUATION, metrics=metrics, details=details))
    assert decision.promote is promoted
    if not promoted:
        assert "must rise with tire_age_laps, and falls for C1 (-1 ms a unit)" in decision.reason
