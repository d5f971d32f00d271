"""The bill's lines added up, held against budget and plan; and advice from what was measured."""

from dataclasses import replace
from datetime import date

import pytest

from f1_training.core.costs import Budget, CostSettings
from f1_training.costs import spending
from f1_training.costs.advice import advise
from f1_training.costs.estimate import Estimate
from f1_training.costs.planned import PlannedModel, month_plan, planned_model
from f1_training.costs.prices import read_prices
from f1_training.costs.spending import Level, RunCost, Spent
from tests.fakes.run_plan import make_plan, training_result
from trainer.contract.resources import LADDER, Resources

TODAY = date(2026, 11, 27)
GIB = 2**30


def spent(day: str, usd: float, service: str = "Compute Engine", **of: str) -> Spent:
    return Spent(
        day=date.fromisoformat(day),
        service=service,
        budget=Budget(of.get("budget", "infrastructure")),
        model_type=of.get("model", ""),
        job_id=of.get("job", ""),
        usd=usd,
    )


ROWS = [
    spent("2026-10-28", 7.0, model="fuel_consumption", job="f-0", budget="weekly-retraining"),
    spent("2026-11-02", 4.0, model="tire_degradation", job="t-1", budget="weekly-retraining"),
    spent("2026-11-03", 1.0, "BigQuery", model="tire_degradation", job="t-1", budget="weekly-retraining"),
    spent("2026-11-09", 2.0, model="tire_degradation", job="t-2", budget="ad-hoc"),
    spent("2026-11-10", 3.0, "Cloud Storage"),
    spent("2026-11-10", 300.0, "Cloud Composer"),
]


def test_lines_of_the_budget_are_of_the_month_and_uncounted_services_are_left_out() -> None:
    rows = spending.counted(ROWS, CostSettings())
    assert spending.by_budget(rows, "2026-11") == {"weekly-retraining": 5.0, "ad-hoc": 2.0, "infrastructure": 3.0}


def test_services_of_30_days_the_dearest_first() -> None:
    # The 28th of October is the 30th day back, the first that is not counted.
    found = spending.by_service(ROWS, TODAY)
    assert list(found.items()) == [
        ("Cloud Composer", 300.0),
        ("Compute Engine", 6.0),
        ("Cloud Storage", 3.0),
        ("BigQuery", 1.0),
    ]


def test_models_by_month_have_every_month_and_what_is_no_model_s_comes_last() -> None:
    found = spending.by_model_and_month(spending.counted(ROWS, CostSettings()))
    assert list(found) == ["fuel_consumption", "tire_degradation", "infrastructure"]
    assert found["tire_degradation"] == {"2026-10": 0.0, "2026-11": 7.0}


def test_runs_add_up_over_days_and_services_the_newest_first() -> None:
    runs = [(r.job_id, r.day, r.usd, r.budget.value) for r in spending.by_run(ROWS)]
    assert runs == [
        ("t-2", "2026-11-09", 2.0, "ad-hoc"),
        ("t-1", "2026-11-02", 5.0, "weekly-retraining"),
        ("f-0", "2026-10-28", 7.0, "weekly-retraining"),
    ]


def test_a_label_that_is_not_ours_is_infrastructure() -> None:
    row = {"day": TODAY, "service": None, "budget": "somebody's", "model_type": "", "job_id": "", "usd": None}
    (found,) = spending.spent_rows([row])
    assert (found.budget, found.service, found.usd) == (Budget.INFRASTRUCTURE, "unknown", 0.0)


@pytest.mark.parametrize(
    ("today", "months", "first"),
    [
        (date(2026, 11, 27), 6, date(2026, 6, 1)),
        (date(2026, 2, 3), 3, date(2025, 12, 1)),
        (date(2026, 11, 3), 1, date(2026, 10, 4)),  # 30 days by service reach further back than the month
    ],
)
def test_how_far_back_is_asked(today: date, months: int, first: date) -> None:
    assert spending.since(today, CostSettings(months_shown=months)) == first


@pytest.mark.parametrize(
    ("usd", "level"),
    [(159.9, Level.FINE), (160.0, Level.WARN), (200.0, Level.WARN), (200.1, Level.OVER), (250.0, Level.LIMIT)],
)
def test_levels_of_a_budget_of_200(usd: float, level: Level) -> None:
    assert spending.level(usd, CostSettings(hard_limit_usd=250.0)) is level


def test_without_a_hard_limit_there_is_none() -> None:
    assert spending.level(10_000.0, CostSettings()) is Level.OVER


def test_a_weekly_run_costs_what_the_newest_did_else_what_is_estimated() -> None:
    runs = [
        RunCost(job_id=f"t-{day}", model_type="tire_degradation", budget=budget, day=f"2026-11-{day:02}", usd=usd)
        for day, usd, budget in ((23, 3.0, Budget.WEEKLY), (20, 90.0, Budget.AD_HOC), (16, 5.0, Budget.WEEKLY))
    ]
    guessed = Estimate(usd=25.0, basis="a guess")
    found = planned_model("tire_degradation", runs, guessed)
    assert (found.usd_per_run, found.basis) == (4.0, "the bill of the last 2 weekly runs")
    assert planned_model("fuel_consumption", runs, guessed).usd_per_run == 25.0


def planned(*usd: float | None) -> list[PlannedModel]:
    return [PlannedModel(model_type=f"m{i}", usd_per_run=value, basis="") for i, value in enumerate(usd)]


def test_the_specification_s_own_plan_is_more_than_its_budget() -> None:
    # Four models at 20 to 30 dollars a week are 344 to 516 a month, not 80 to 120 (errata 15).
    for usd, weekly in ((20.0, 346.67), (30.0, 520.0)):
        plan = month_plan(planned(usd, usd, usd, usd), CostSettings())
        assert plan.lines["weekly-retraining"] == pytest.approx(weekly, abs=0.01)
        assert plan.usd == pytest.approx(weekly + 80, abs=0.01)
        assert "is more than the budget of 200 USD" in plan.warning()


def test_a_plan_that_fits_warns_of_nothing_but_what_it_does_not_know() -> None:
    assert month_plan(planned(1.0, 2.0), CostSettings()).warning() == ""
    warning = month_plan(planned(1.0, None), CostSettings()).warning()
    assert warning == "the plan leaves out m1: no cost of a run is known"


MEDIUM = Resources(tier=LADDER[1].tier, cpu="6", memory="24Gi")


@pytest.mark.parametrize(
    ("peak_gib", "cpus", "change", "words"),
    [
        (18.0, 5.5, False, "18.00 of 24 GiB and 5.5 of 6 CPUs used at most: as it should be"),
        (5.0, 2.5, True, "n1-standard-4 has room, and costs 0.19 USD less an hour and worker"),
        (5.0, 5.5, False, "as it should be"),  # its CPUs would not fit
        (23.0, 5.5, True, "close to being killed; take n1-standard-16"),
        (18.0, 1.0, True, "CPUs are idle; take fewer workers"),
    ],
)
def test_advice(peak_gib: float, cpus: float, change: bool, words: str) -> None:
    result = training_result(make_plan(), usage={"peak_memory_bytes": peak_gib * GIB, "cpus": cpus})
    found = advise("tire_degradation", MEDIUM, result, read_prices())
    assert found.change is change
    assert words in found.text


def test_more_memory_where_the_machine_has_it_and_more_workers_where_none_has() -> None:
    tight = replace(MEDIUM, memory="12Gi")
    result = training_result(make_plan(), usage={"peak_memory_bytes": 11.0 * GIB, "cpus": 5.0})
    assert "raise memory to 15Gi" in advise("m", tight, result, read_prices()).text
    largest = Resources(tier=LADDER[3].tier, cpu="15", memory="87Gi")
    result = training_result(make_plan(), usage={"peak_memory_bytes": 86.0 * GIB, "cpus": 5.0})
    assert "take more workers" in advise("m", largest, result, read_prices()).text


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        ({}, "does not say its peak memory and CPU time"),
        ({"peak_memory_bytes": 1.0}, "does not say its CPU time"),
    ],
)
def test_what_was_not_measured_is_said(usage: dict[str, float], words: str) -> None:
    assert words in advise("m", MEDIUM, training_result(make_plan(), usage=usage), read_prices()).text
    assert "no version yet" in advise("m", MEDIUM, None, read_prices()).text
