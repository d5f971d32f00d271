"""A card tells where a model comes from, and metrics have plain names with their unit."""

import json
from dataclasses import replace

import pytest

from f1_training.core.costs import EstimatedCost
from f1_training.core.specs import training_spec
from f1_training.registry.card import Inputs, ModelCard, lineage_summary, metrics_shown, model_card
from f1_training.registry.promotion import decide
from tests.fakes.run_plan import evaluation_result, held_out_snapshot, make_plan, training_result, training_snapshot
from trainer.contract import (
    ContractError,
    Curve,
    Details,
    GroupChange,
    Interval,
    LineageEvent,
    LinearBaseline,
    Metric,
    Objective,
)  # fmt: skip
from trainer.contract.catalogue import GatesEntry

PLAN = make_plan()
RESULT = training_result(PLAN)
EVALUATION = evaluation_result(PLAN, RESULT)
INPUTS = Inputs(spec=training_spec(PLAN, training_snapshot(PLAN), 1), test_snapshot=held_out_snapshot(PLAN))
CARD = model_card(PLAN, INPUTS, RESULT, EVALUATION)


def test_a_card_survives_being_written() -> None:
    assert ModelCard.from_json(CARD.to_json()) == CARD


def test_what_a_run_cost_is_kept_and_a_card_from_before_that_can_be_read() -> None:
    cost = EstimatedCost(estimated_usd=0.38, hours=0.37, machines="2 n1-standard-8", basis="estimated")
    with_cost = replace(CARD, cost=cost)
    assert ModelCard.from_json(with_cost.to_json()) == with_cost
    older = json.loads(with_cost.to_json())
    del older["cost"]
    assert ModelCard.from_json(json.dumps(older)) == CARD


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


@pytest.mark.parametrize(
    ("gates", "promote", "reason"),
    [
        (GatesEntry(most={"test_mae": 600.0}), True, "beats the naive baseline"),
        (GatesEntry(most={"test_mae": 557.0}, least={"rmse": 1.0}), True, "beats the naive baseline"),
        (
            GatesEntry(most={"test_mae": 500.0, "rmse": 700.0}), False,
            "want at most 700 ms; test_mae is 557 ms; the gates of this model want at most 500 ms",
        ),
        (GatesEntry(least={"r2": 0.5}), False, "r2 is 0.4; the gates of this model want at least 0.5"),
        (GatesEntry(most={"linear_mae": 1.0}), False, "linear_mae was not measured; the gates of this model want at most 1 ms"),
        (GatesEntry(beats_linear=True), False, "there is no linear baseline to compare with"),
        (GatesEntry(beats_baseline=False), True, "there is no champion"),
    ],
)  # fmt: skip
def test_what_a_model_s_gates_want(gates: GatesEntry, promote: bool, reason: str) -> None:
    metrics = {"test_mae": 557.0, "baseline_mae": 807.0, "rmse": 800.0, "r2": 0.4}
    decision = decide(replace(EVALUATION, metrics=metrics), gates)
    assert decision.promote is promote
    assert reason in decision.reason


def test_a_bound_on_what_is_not_a_number_is_not_kept() -> None:
    metrics = {"test_mae": 557.0, "baseline_mae": 807.0, "r2": float("nan")}
    assert not decide(replace(EVALUATION, metrics=metrics), GatesEntry(least={"r2": 0.1})).promote


@pytest.mark.parametrize(("low", "high", "promote"), [(-9.0, -2.0, True), (-9.0, 3.0, True), (1.0, 9.0, False)])
def test_only_what_is_worse_than_a_linear_model_beyond_the_noise_is_refused(
    low: float, high: float, promote: bool
) -> None:
    linear = LinearBaseline(
        metric="test_mae", own=557.0, linear=557.0 - (low + high) / 2, difference=(low + high) / 2,
        interval=Interval(low=low, high=high), rows=900,
    )  # fmt: skip
    decision = decide(replace(EVALUATION, linear=linear), GatesEntry(beats_linear=True))
    assert decision.promote is promote
    assert ("no worse" if promote else "is worse than the linear baseline's") in decision.reason
    assert decide(replace(EVALUATION, linear=linear)).promote, "nobody asked for it"


def curve(name: str, slope: float) -> Curve:
    return Curve(
        name=name, rows=9, at=(1.0, 35.0), mean=(0.0, 34 * slope), low=(0.0, 0.0), high=(0.0, 0.0), slope=slope,
        slope_interval=Interval(low=slope, high=slope),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("slopes", "rises", "promoted"),
    [((30.0, 1.0), True, True), ((30.0, -1.0), True, False), ((-1.0, -1.0), False, True)],
)
def test_what_physics_says_of_the_one_curve_of_an_old_document_must_hold(
    slopes: tuple[float, ...], rises: bool, promoted: bool
) -> None:
    curves = tuple(curve(f"C{n}", slope) for n, slope in enumerate(slopes))
    details = Details(effects={}, effect_rows=1, curves=curves, curve_feature="tire_age_laps", curve_rises=rises)
    metrics = {"test_mae": 557.0, "baseline_mae": 807.0}
    decision = decide(replace(EVALUATION, metrics=metrics, details=details))
    assert decision.promote is promoted
    if not promoted:
        assert "must rise with tire_age_laps, and falls for C1 (-1 ms a unit)" in decision.reason


def test_each_curve_that_must_rise_is_looked_at() -> None:
    curves = (
        replace(curve("SOFT", -2.0), feature="tire_age_laps", rises=True),
        replace(curve("HARD", 3.0), feature="tire_age_laps", rises=True),
        replace(curve("all", -5.0), feature="fuel_fraction", rises=True),
        replace(curve("all", -7.0), feature="turns"),
    )
    decision = decide(replace(EVALUATION, details=Details(effects={}, effect_rows=1, curves=curves)))
    assert not decision.promote
    assert decision.reason == (
        "physics: other things equal the prediction must rise with tire_age_laps, and falls for SOFT (-2 ms a unit); "
        "with fuel_fraction, and falls for all (-5 ms a unit)"
    )


def test_a_card_of_before_there_were_these_fields_still_reads() -> None:
    old = json.loads(CARD.to_json())
    for name in ("class_names", "simulated_target", "machine"):
        del old[name]
    for name in ("linear", "breakdowns"):
        del old["evaluation"][name]
    one = {"at": [1.0, 2.0], "mean": [0.0, 1.0], "low": [0.0, 1.0], "high": [0.0, 1.0], "slope": -1.0, "name": "SOFT"}
    old["evaluation"]["details"] = {
        "effects": {"stint": 1.0}, "effect_rows": 9, "curve_feature": "tire_age_laps", "curve_unit": "laps",
        "curve_rises": True, "grid": None, "curves": [{**one, "rows": 5, "slope_interval": {"low": -2.0, "high": -0.5, "level": 0.95}}],
    }  # fmt: skip
    card = ModelCard.from_json(json.dumps(old))
    assert (card.machine, card.class_names, card.evaluation.linear) == ("", (), None)
    assert card.evaluation.details is not None
    (found,) = card.evaluation.details.drawn
    assert (found.feature, found.unit, found.rises) == ("tire_age_laps", "laps", True)
    assert "rise with tire_age_laps, and falls for SOFT" in decide(card.evaluation).reason


def test_a_card_says_what_a_worker_asked_for_and_what_is_simulated() -> None:
    assert CARD.machine == "n1-standard-8 (6 CPUs, 24Gi)"
    entry = replace(
        PLAN.entry,
        simulated_target="by our simulator",
        class_names=("calm", "hard"),
        objective=Objective.MULTICLASS,
        metric=Metric.MULTI_LOG_LOSS,
    )
    card = model_card(replace(PLAN, entry=entry), INPUTS, RESULT, EVALUATION)
    assert (card.simulated_target, card.class_names) == ("by our simulator", ("calm", "hard"))
