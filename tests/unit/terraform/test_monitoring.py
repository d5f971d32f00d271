"""What is logged and for how long, who is told, and what a month may cost."""

import json
import re
from typing import Any

import pytest
import yaml

from composer.monitoring.dashboard import DASHBOARD, read_dashboard
from composer.monitoring.rules import for_cloud_monitoring, read_alerts
from composer.policy.page import REPOSITORY
from tests.fakes.infrastructure import of_type, one

BOARD = read_dashboard(DASHBOARD.read_text())
ALERTS = yaml.safe_load((REPOSITORY / "composer" / "monitoring" / "alerts.yaml").read_text())["alerts"]
RULES = {rule.name: rule for rule in read_alerts((REPOSITORY / "composer" / "monitoring" / "alerts.yaml").read_text())}


@pytest.mark.parametrize(("bucket", "days"), [("training", 30), ("errors", 90), ("audit", 365)])
def test_logs_are_kept(bucket: str, days: int) -> None:
    assert one("google_logging_project_bucket_config", bucket)["retention_days"] == days


def test_the_year_of_audit_logs_cannot_be_shortened() -> None:
    locked = {r.key for r in of_type("google_logging_project_bucket_config") if r["locked"]}
    assert locked == {"audit"}


@pytest.mark.parametrize(
    ("service", "kind"),
    [
        ("bigquery.googleapis.com", "DATA_READ"),
        ("bigquerystorage.googleapis.com", "DATA_READ"),
        ("storage.googleapis.com", "DATA_WRITE"),
        ("secretmanager.googleapis.com", "DATA_READ"),
    ],
)
def test_reads_of_rows_and_writes_of_objects_are_audited(service: str, kind: str) -> None:
    (config,) = [r for r in of_type("google_project_iam_audit_config") if r["service"] == service]
    assert kind in {c["log_type"] for c in config["audit_log_config"]}
    assert service in one("google_logging_project_sink", "audit")["filter"]


def test_workers_that_start_and_stop_are_audited() -> None:
    said = one("google_logging_project_sink", "audit")["filter"]
    assert all(f'"{reason}"' in said for reason in ("Started", "Killing", "Preempting", "Evicted"))


def test_audit_logs_are_exported_to_bigquery_for_as_long() -> None:
    sink = one("google_logging_project_sink", name="audit_to_bigquery")
    dataset = one("google_bigquery_dataset", name="audit")
    assert sink["destination"].endswith(f"/datasets/{dataset['dataset_id']}")
    assert sink["filter"] == one("google_logging_project_sink", "audit")["filter"]
    assert dataset["default_partition_expiration_ms"] == 365 * 86_400_000
    writer = one("google_bigquery_dataset_iam_member", name="audit_writer")
    assert (writer["member"], writer["role"]) == (sink["writer_identity"], "roles/bigquery.dataEditor")


def test_row_18_and_22_every_alert_of_the_file_becomes_a_policy() -> None:
    policies = {r.key: r for r in of_type("google_monitoring_alert_policy")}
    assert set(policies) == {a["name"] for a in ALERTS}
    for alert in ALERTS:
        (condition,) = policies[alert["name"]]["conditions"]
        promql = condition["condition_prometheus_query_language"][0]
        # With the thresholds in it, on the metrics that Google's client writes.
        assert promql["query"] == for_cloud_monitoring(RULES[alert["name"]].expr)
        assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", promql["alert_rule"])
        # Or the first apply fails: the metrics come with the first training.
        assert promql["disable_metric_validation"] is True
        assert promql["duration"] == f"{_seconds(alert['for'])}s"
        assert alert["runbook"] in policies[alert["name"]].one("documentation")["content"]


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[duration[-1]]


def test_somebody_is_told_of_every_alert_and_of_the_budget() -> None:
    channels = [r["id"] for r in of_type("google_monitoring_notification_channel")]
    assert all(
        r["notification_channels"][: len(channels)] == channels for r in of_type("google_monitoring_alert_policy")
    )
    assert one("google_billing_budget").one("all_updates_rule")["monitoring_notification_channels"] == channels


def test_the_dashboard_has_every_chart_of_the_file_on_the_metrics_that_google_s_client_writes() -> None:
    tiles = _layout()["tiles"]
    charts = {t["widget"]["title"]: t["widget"]["xyChart"] for t in tiles if "xyChart" in t["widget"]}
    assert set(charts) == {chart.title for chart in BOARD.charts}
    for chart in BOARD.charts:
        (drawn,) = charts[chart.title]["dataSets"]
        query = for_cloud_monitoring(chart.query.replace("${rate_window}", BOARD.rate_window))
        assert drawn["timeSeriesQuery"] == {"prometheusQuery": query, "unitOverride": chart.unit}
    headings = [t["widget"]["title"] for t in sorted(tiles, key=lambda t: t["yPos"]) if "sectionHeader" in t["widget"]]
    assert headings == [section.title for section in BOARD.sections]


def test_each_chart_is_below_its_section_s_heading() -> None:
    order = sorted(_layout()["tiles"], key=lambda t: (t["yPos"], t["xPos"]))
    wanted = [title for s in BOARD.sections for title in (s.title, *(chart.title for chart in s.charts))]
    assert [t["widget"]["title"] for t in order] == [*wanted, "Errors"]


def test_the_dashboard_is_a_grid_without_gaps() -> None:
    layout = _layout()
    cells = [(x, y) for t in layout["tiles"] for x in _span(t, "x", "width") for y in _span(t, "y", "height")]
    assert len(cells) == len(set(cells)) == layout["columns"] * (max(y for _, y in cells) + 1)


def _layout() -> Any:
    return json.loads(one("google_monitoring_dashboard")["dashboard_json"])["mosaicLayout"]


def _span(tile: dict[str, int], at: str, size: str) -> range:
    return range(int(tile[f"{at}Pos"]), int(tile[f"{at}Pos"]) + int(tile[size]))


def test_row_15_the_budget_is_a_figure_of_the_deployment_and_warns_before_it_is_spent() -> None:
    budget = one("google_billing_budget")
    assert budget.one("amount")["specified_amount"][0]["units"] == "520"
    rules = [(r["threshold_percent"], r.get("spend_basis", "CURRENT_SPEND")) for r in budget["threshold_rules"]]
    assert (1.0, "FORECASTED_SPEND") in rules
    assert (0.5, "CURRENT_SPEND") in rules
