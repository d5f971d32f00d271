"""What a run costs is told before it starts; above the hard limit it does not, unless somebody forces it."""

import json
import logging
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from f1_training.core.costs import Budget, CostSettings
from f1_training.core.plan import RunPlan
from f1_training.core.settings import Settings
from f1_training.core.specs import training_spec
from f1_training.costs.ledger import Ledger, month_to_date
from f1_training.costs.planned import month_plan
from f1_training.costs.report import CostReport, make_report, page
from f1_training.costs.spending import Level, RunCost, Spent
from f1_training.operators.costs import CostReportOperator, _readings, alert_of, check_cost
from f1_training.registry.card import Inputs, model_card
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

NOW = datetime.now(UTC)


def deployed(tmp_path: Path, **costs: Any) -> Settings:
    return settings(f"file://{tmp_path}", costs=costs)


def register(plan: RunPlan) -> None:
    """A version that took 0.1 s a round on two workers."""
    inputs = Inputs(spec=training_spec(plan, training_snapshot(plan), 1), test_snapshot=held_out_snapshot(plan))
    result = training_result(plan, seconds={"training": 75.0, "total": 255.0})
    card = model_card(plan, inputs, result, evaluation_result(plan, result))
    Registry(plan.settings.uris.models).register(card, BOOSTER)


def report_of(usd: float, costs: CostSettings, at: datetime = NOW) -> CostReport:
    row = Spent(day=at.date(), service="Compute Engine", budget=Budget.AD_HOC, model_type="m", job_id="j", usd=usd)
    return make_report([row], costs, at, month_plan([], costs), [])


def check(plan: RunPlan, **params: Any) -> None:
    check_cost({"params": params}, [plan.to_xcom()])


def test_the_log_says_what_the_run_costs_at_most_and_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = make_plan(deployed(tmp_path), rounds=3600)
    register(replace(plan, model_version="20261101-000000-aaaaaa"))
    caplog.clear()
    with caplog.at_level(logging.INFO):
        check(plan)
    (line,) = caplog.messages
    # 180 s around training, 360 s of it and 780 s of nodes are 0.37 h.
    assert line.startswith("tire_degradation: about 0.38 USD (2 n1-standard-8 on demand and 0.333 n1-standard-4")
    assert "as version 20261101-000000-aaaaaa took" in line


def test_a_dry_run_is_neither_told_nor_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = make_plan(deployed(tmp_path, hard_limit_usd=1.0), dry_run=True)
    Ledger(artifacts_uri=plan.settings.uris.artifacts).keep(report_of(5.0, plan.settings.costs))
    with caplog.at_level(logging.INFO):
        check(plan)
    assert caplog.messages == []


def test_above_the_hard_limit_a_run_is_refused_unless_it_is_forced(tmp_path: Path) -> None:
    plan = make_plan(deployed(tmp_path, hard_limit_usd=100.0), rounds=3600)
    register(replace(plan, model_version="20261101-000000-aaaaaa"))
    ledger = Ledger(artifacts_uri=plan.settings.uris.artifacts)
    check(plan)  # nothing is known to be spent
    ledger.keep(report_of(99.5, plan.settings.costs))
    check(plan)
    ledger.keep(report_of(99.7, plan.settings.costs))
    fix = r"^ConfigInvalid: costs\.hard_limit_usd is 100\.00.*99\.70 are spent, and this run takes about 0\.38;.*force_cost"
    with pytest.raises(AirflowFailException, match=fix):
        check(plan)
    check(plan, force_cost=True)


def test_last_month_s_spending_counts_for_nothing(tmp_path: Path) -> None:
    costs = CostSettings(hard_limit_usd=100.0)
    at = datetime(2026, 11, 30, 7, tzinfo=UTC)
    report = report_of(150.0, costs, at)
    assert month_to_date(report, at)[0] == 150.0
    usd, words = month_to_date(report, at + timedelta(days=1))
    assert (usd, "of 2026-11" in words) == (0.0, True)


def test_an_old_report_says_so() -> None:
    at = datetime(2026, 11, 3, 7, tzinfo=UTC)
    _, words = month_to_date(report_of(1.0, CostSettings(), at), at + timedelta(days=4))
    assert "4 days old: does f1_training_costs run?" in words


def test_a_storage_that_refuses_stops_only_who_has_a_limit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tire_degradation").write_text("a file where a folder should be")
    for limit in (None, 100.0):
        plan = make_plan(deployed(tmp_path, hard_limit_usd=limit))
        plan = replace(plan, settings=replace(plan.settings, uris=replace(plan.settings.uris, models="nowhere://x")))
        if limit is None:
            check(plan)
            assert "what this run costs is not known" in caplog.text
        else:
            with pytest.raises(AirflowFailException, match=r"^ConfigInvalid: nowhere://x"):
                check(plan)


def test_a_report_of_another_version_is_as_good_as_none(tmp_path: Path) -> None:
    ledger = Ledger(artifacts_uri=f"file://{tmp_path}")
    ledger.keep(report_of(1.0, CostSettings()))
    file = tmp_path / "costs" / "report.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": 99}))
    assert ledger.newest() is None


def test_a_report_is_kept_as_the_newest_and_as_its_month_s(tmp_path: Path) -> None:
    ledger = Ledger(artifacts_uri=f"file://{tmp_path}")
    report = report_of(1.0, CostSettings(), datetime(2026, 11, 3, 7, tzinfo=UTC))
    assert ledger.keep(report).endswith("/costs/report.html")
    assert ledger.newest() == report
    assert sorted(p.name for p in (tmp_path / "costs").iterdir()) == [
        "2026-11.html",
        "2026-11.json",
        "report.html",
        "report.json",
    ]


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (None, 100.0, False),
        (None, 170.0, True),
        (165.0, 170.0, False),  # told already
        (170.0, 210.0, True),
        (210.0, 260.0, True),
        (260.0, 260.0, False),
    ],
)
def test_the_owners_are_told_once_for_each_level(before: float | None, now: float, told: bool) -> None:
    costs = CostSettings(hard_limit_usd=250.0)
    last = report_of(before, costs) if before is not None else None
    assert report_of(now, costs).worse_than(last) is told


def test_a_new_month_is_told_anew() -> None:
    october = report_of(170.0, CostSettings(), datetime(2026, 10, 30, tzinfo=UTC))
    assert report_of(170.0, CostSettings(), datetime(2026, 11, 20, tzinfo=UTC)).worse_than(october)


def test_the_alert_has_the_sums_and_the_page() -> None:
    context = {
        "ti": SimpleNamespace(dag_id="f1_training_costs", task_id="report"),
        "dag_run": SimpleNamespace(run_id="r"),
    }
    report = report_of(170.0, CostSettings(), datetime(2026, 11, 20, tzinfo=UTC))
    alert = alert_of(context, report, "gs://a/costs/report.html")
    assert alert.title == "training costs are close to the budget: 170 of 200 USD"
    assert "ad-hoc: 170.00 of 50.00 USD" in alert.text
    assert (alert.key, alert.report_uri) == (
        "costs/2026-11/warn",
        "https://storage.cloud.google.com/a/costs/report.html",
    )


def test_the_page_is_complete_and_escapes_what_the_bill_says() -> None:
    costs = CostSettings()
    rows = [
        Spent(day=date(2026, month, 3), service=service, budget=Budget.WEEKLY, model_type=model, job_id="j", usd=usd)
        for month, service, model, usd in (
            (10, "Compute Engine", "tire_degradation", 3.0),
            (11, "<b>Compute</b>", "tire_degradation", 4.0),
            (11, "Cloud Composer", "", 300.0),
        )
    ]
    html = page(make_report(rows, costs, datetime(2026, 11, 20, tzinfo=UTC), month_plan([], costs), []))
    assert "<svg" in html
    assert 'aria-label="Cost by model and month"' in html
    assert "&lt;b&gt;Compute" in html
    assert "<b>" not in html
    assert "Cloud Composer <span" in html
    assert "http" not in html.replace("http-equiv", "")


def test_without_a_billing_table_the_report_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    body = {
        "project": "p-x",
        "image": "i:1",
        "uris": dict.fromkeys(("checkpoints", "artifacts", "models"), f"file://{tmp_path}"),
    }
    monkeypatch.setenv("AIRFLOW_VAR_F1_TRAINING", json.dumps(body))
    with pytest.raises(AirflowSkipException, match=r"costs\.billing_table"):
        CostReportOperator(task_id="report").execute({})


def test_the_level_s_order() -> None:
    assert [level.rank for level in Level] == [0, 1, 2, 3]


def test_the_budget_s_alert_has_something_to_look_at() -> None:
    report = report_of(120.0, CostSettings())
    runs = [
        RunCost(job_id=f"j{n}", model_type="tire_degradation", budget=Budget.WEEKLY, day="2026-11-20", usd=3.5)
        for n in range(30)
    ]
    spent, budget, *told = _readings(report, runs)
    assert (spent.name, spent.value) == ("training.cost.month_to_date", 120.0)
    assert (budget.name, budget.value) == ("training.cost.budget", report.budget_usd)
    assert [(one.name, one.value, one.labels["job_id"]) for one in told] == [
        ("training.job.cost", 3.5, f"j{n}") for n in range(20)
    ]
    assert len(_readings(replace(report, budget_usd=0.0), [])) == 1
