"""The cost query and the report's operator on a small billing export, through the real BigQuery client."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from composer.local.bigquery.testing import running_bigquery
from composer.local.laps import emulator_client
from f1_training.bigquery import sql
from f1_training.costs.bill import bill, readiness
from f1_training.costs.ledger import Ledger
from f1_training.costs.report import CostReport
from f1_training.operators.costs import CostReportOperator
from tests.fakes.billing import Line, load, pod, query_job
from tests.fakes.run_plan import settings
from trainer.contract import TrainingFailure

TABLE = "local.billing.gcp_billing_export_resource_v1_01A2B3_C4D5E6_F7A8B9"
TODAY = datetime.now(UTC).date()
FIRST = TODAY.replace(day=1)
BEFORE = FIRST - timedelta(days=1)
WEEKLY = ("weekly-retraining", "tire_degradation", "tire-degradation-11111111")
AD_HOC = ("ad-hoc", "fuel_consumption", "fuel-consumption-22222222")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running_bigquery(tmp_path_factory.mktemp("bigquery")) as served, pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIGQUERY_EMULATOR_HOST", served.rest)
        google = {"conn_type": "google_cloud_platform", "extra": {"project": "local", "is_anonymous": True}}
        patch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(google))
        yield emulator_client(served.rest)


def spent(client: Any, since: date) -> list[tuple[Any, ...]]:
    from google.cloud import bigquery

    config = bigquery.QueryJobConfig(
        query_parameters=[
            bigquery.ScalarQueryParameter("project", "STRING", "local"),
            bigquery.ScalarQueryParameter("since", "DATE", since),
        ]
    )
    text = sql.render(sql.load("costs/spent.sql"), {"billing_table": sql.table(TABLE)})
    return [tuple(row.values()) for row in client.query(text, job_config=config).result(timeout=30)]


def test_labels_of_pods_and_of_queries_say_whose_a_cost_is(client: Any) -> None:
    day = TODAY.isoformat()
    lines = [
        Line(day=day, service="Compute Engine", cost=3.0, credit=-0.5, labels=pod(*WEEKLY)),
        Line(day=day, service="Compute Engine", cost=1.0, labels=pod(*WEEKLY)),
        Line(day=day, service="BigQuery", cost=1.0, rate=2.0, labels=query_job(*AD_HOC)),
        Line(day=day, service="Compute Engine", cost=0.25, labels={"k8s-namespace": "kube:unallocated"}),
        Line(day=day, service="Cloud Storage", cost=0.0),
    ]
    load(client, TABLE, lines)
    assert spent(client, TODAY) == [
        (TODAY, "BigQuery", *AD_HOC, 0.5),
        (TODAY, "Cloud Storage", "infrastructure", "", "", 0.0),
        (TODAY, "Compute Engine", "infrastructure", "", "", 0.25),
        (TODAY, "Compute Engine", *WEEKLY, 3.5),
    ]


def test_other_projects_and_earlier_days_are_left_out(client: Any) -> None:
    lines = [
        Line(day=TODAY.isoformat(), service="Compute Engine", cost=3.0, project="somebody-else"),
        Line(day=(TODAY - timedelta(days=1)).isoformat(), service="Compute Engine", cost=3.0),
    ]
    load(client, TABLE, lines)
    assert spent(client, TODAY) == []
    assert len(spent(client, TODAY - timedelta(days=1))) == 1


def test_the_preflight_checks_the_report_s_query_and_reads_nothing(client: Any, tmp_path: Path) -> None:
    load(client, TABLE, [Line(day=TODAY.isoformat(), service="Compute Engine", cost=1.0)])
    deployed = settings(f"file://{tmp_path}", project="local", costs={"billing_table": TABLE})
    assert readiness(bill(deployed), deployed, TODAY).endswith("bytes; nothing was read")
    standard = TABLE.replace("_resource", "")
    client.query(f"CREATE OR REPLACE TABLE `{standard}` AS SELECT * EXCEPT (resource) FROM `{TABLE}`").result(30)
    of_standard = settings(f"file://{tmp_path}", project="local", costs={"billing_table": standard})
    with pytest.raises(TrainingFailure, match="it is not the detailed usage cost export"):
        readiness(bill(of_standard), of_standard, TODAY)


def run_operator(patch: pytest.MonkeyPatch, folder: Path, **costs: Any) -> dict[str, Any]:
    uris = {name: f"file://{folder}/{name}" for name in ("checkpoints", "artifacts", "models")}
    body = {"project": "local", "image": "image:1", "uris": uris, "costs": {"billing_table": TABLE, **costs}}
    patch.setenv("AIRFLOW_VAR_F1_TRAINING", json.dumps(body))
    ti = SimpleNamespace(dag_id="f1_training_costs", task_id="report", log_url="http://airflow/log")
    return CostReportOperator(task_id="report").execute({"ti": ti, "dag_run": SimpleNamespace(run_id="r1")})


def test_the_report_adds_up_and_the_owners_are_told_once(
    client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = [
        Line(day=TODAY.isoformat(), service="Compute Engine", cost=150.0, labels=pod(*WEEKLY)),
        Line(day=TODAY.isoformat(), service="BigQuery", cost=12.0, labels=query_job(*AD_HOC)),
        Line(day=TODAY.isoformat(), service="Cloud Composer", cost=400.0),
        Line(day=BEFORE.isoformat(), service="Compute Engine", cost=20.0, labels=pod(*WEEKLY)),
    ]
    load(client, TABLE, lines)
    returned = run_operator(monkeypatch, tmp_path)
    assert (returned["spent_usd"], returned["level"]) == (162.0, "close to the budget")
    report = Ledger(artifacts_uri=f"file://{tmp_path}/artifacts").newest()
    assert isinstance(report, CostReport)
    assert report.lines == {"weekly-retraining": 150.0, "ad-hoc": 12.0, "infrastructure": 0.0}
    assert report.models["tire_degradation"] == {f"{BEFORE:%Y-%m}": 20.0, f"{TODAY:%Y-%m}": 150.0}
    assert report.services["Cloud Composer"] == 400.0
    (weekly,) = [m for m in report.plan.models if m.model_type == "tire_degradation"]
    assert (weekly.usd_per_run, weekly.basis) == (170.0, "the bill of the last 1 weekly run")
    assert "is more than the budget" in report.plan.warning()
    page = Path(returned["report_uri"].removeprefix("file://")).read_text()
    assert "162.00 of 200.00 USD spent (81%)" in page
    outbox = tmp_path / "artifacts" / "_alerts" / "outbox"
    (kept,) = outbox.iterdir()
    alert = json.loads(kept.read_text())
    assert alert["title"] == "training costs are close to the budget: 162 of 200 USD"
    run_operator(monkeypatch, tmp_path)
    assert len(list(outbox.iterdir())) == 1


def test_below_the_share_nobody_is_told(client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    load(client, TABLE, [Line(day=TODAY.isoformat(), service="Compute Engine", cost=159.0)])
    assert run_operator(monkeypatch, tmp_path)["level"] == "within the budget"
    assert not (tmp_path / "artifacts" / "_alerts").exists()


def test_a_table_that_is_not_there_is_named(client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"^ConfigInvalid: a query: .*nowhere"):
        run_operator(monkeypatch, tmp_path, billing_table="local.billing.nowhere")
