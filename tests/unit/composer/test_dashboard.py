"""The dashboard's definition: every metric of training is on it, every query is one, and the page has all it needs."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from composer.local.monitoring import program
from composer.monitoring.dashboard import (
    DASHBOARD,
    PAGE,
    RUNBOOK,
    UNITS,
    WINDOW,
    anchor,
    main,
    page_data,
    read_dashboard,
    runbook_page,
    write_page,
)
from composer.monitoring.rules import ALERTS, METRIC, read_alerts
from trainer.contract import ContractError
from trainer.contract.metrics import METRICS, MetricKind

TEXT = DASHBOARD.read_text()
MADE = read_dashboard(TEXT)
TRAINING = {s.title: s.charts for s in MADE.sections if not s.google_cloud}
#: What Google Cloud measures by itself: Kubernetes' state and containers, and services.
PLATFORM = {
    "kube_pod_status_phase": {"namespace", "phase"},
    "container_cpu_usage_seconds_total": {"namespace", "pod"},
    "container_memory_working_set_bytes": {"namespace", "pod"},
    "kubernetes_io:node_cpu_allocatable_cores": {"monitored_resource"},
    "storage_googleapis_com:storage_v2_total_bytes": {"monitored_resource", "bucket_name"},
    "bigquery_googleapis_com:query_statement_scanned_bytes_billed": set(),
}
FUNCTIONS = set(
    "sum max count by rate or time clamp_min last_over_time label_replace offset 5m 1h 26h 0 100 30s".split()
)
PROMTOOL = program("promtool")


def metrics_of(query: str) -> set[str]:
    words = re.findall(r"[\w:]+", re.sub(r'"[^"]*"|\{[^}]*\}|\bby \([^)]*\)', " ", query.replace(WINDOW, "5m")))
    return {word for word in words if word not in FUNCTIONS}


def known() -> dict[str, set[str]]:
    found = {m.prometheus_name: set(m.labels) for m in METRICS.values()}
    for metric in METRICS.values():
        if metric.kind is MetricKind.HISTOGRAM:
            found |= {f"{metric.prometheus_name}_{part}": set(metric.labels) for part in ("sum", "count")}
    return found


@pytest.mark.parametrize("chart", [c for charts in TRAINING.values() for c in charts], ids=lambda c: c.title)
def test_a_query_names_metrics_that_there_are_and_groups_by_what_the_legend_shows(chart) -> None:  # type: ignore[no-untyped-def]
    named, metrics = metrics_of(chart.query), known()
    assert named
    assert named <= set(metrics)
    assert named == set(METRIC.findall(chart.query)), "what Terraform puts a prefix before"
    grouped = {label for found in re.findall(r"\bby \(([^)]*)\)", chart.query) for label in found.split(", ")}
    grouped |= set(re.findall(r'label_replace\(.*?, "(\w+)", "[^"]+", "", ""\)', chart.query))
    assert set(chart.legend_labels) == grouped
    assert grouped - {"figure"} <= set.intersection(*(metrics[name] for name in named))


def test_the_platform_s_charts_name_what_google_cloud_measures() -> None:
    (platform,) = (s for s in MADE.sections if s.google_cloud)
    assert {name for chart in platform.charts for name in metrics_of(chart.query)} == set(PLATFORM)
    for chart in platform.charts:
        (name,) = metrics_of(chart.query)
        labels = set(re.findall(r"(\w+)=", chart.query)) | set(chart.legend_labels)
        assert labels <= PLATFORM[name]


def test_every_metric_of_training_is_on_a_chart() -> None:
    shown = {name for chart in MADE.charts for name in metrics_of(chart.query)}
    missing = {m.prometheus_name for m in METRICS.values() if not {n for n in shown if n.startswith(m.prometheus_name)}}
    assert missing == set()


def test_titles_are_told_apart_and_units_can_be_written() -> None:
    titles = [chart.title for chart in MADE.charts]
    assert len(titles) == len(set(titles))
    script = (PAGE / "format.js").read_text()
    (names,) = re.findall(r"UNIT_NAMES = \{(.*)\}", script)
    assert {key.strip('" ') for key in re.findall(r'([\w"/%{}]+): ', names)} == set(UNITS)


def test_terraform_can_read_the_file_as_a_template() -> None:
    assert set(re.findall(r"\$\{(.*?)\}", TEXT)) == {"rate_window"}
    assert "%{" not in TEXT


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed; .ci/prometheus fetches it")
def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"chart_{i}", "expr": chart.query.replace(WINDOW, MADE.rate_window)}
        for i, chart in enumerate(MADE.charts)
    ]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "charts", "rules": rules}]}))
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, "check", "rules", "rules.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("rate_window: 5m", "rate_window: five"), "rate_window"),
        (('unit: "%"', "unit: percent"), "CPU.unit: is 'percent'"),
        (("        legend: waiting\n", ""), "Jobs: Jobs that wait, when one was submitted: has fields"),
        (("    google_cloud: true\n", "    where: cloud\n"), "Platform: has fields"),
        (("query: max(training_jobs_queued)", "query: max(training_jobs_queued[${window}])"), "placeholder"),
    ],
)
def test_a_wrong_file_is_refused_by_name(change: tuple[str, str], message: str) -> None:
    assert change[0] in TEXT
    with pytest.raises(ContractError, match=re.escape(message)):
        read_dashboard(TEXT.replace(*change, 1))


class Found(HTMLParser):
    """Addresses and ids of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: set[str] = set()
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses |= {value for name, value in attrs if name in ("href", "src") and value}
        self.ids |= {value for name, value in attrs if name == "id" and value}


def test_the_page_is_whole_and_asks_nobody_else(tmp_path: Path) -> None:
    write_page(tmp_path / "page", {"Airflow": "http://127.0.0.1:1"})
    files = {path.name for path in (tmp_path / "page").iterdir()}
    for name in files:
        text = (tmp_path / "page" / name).read_text()
        imported = {m.removeprefix("./") for m in re.findall(r'from "([^"]+)"', text)}
        linked = Found(text).addresses if name == "index.html" else set()
        assert imported | (linked - {"data:,"}) <= files, name
        outside = set(re.findall(r"https?://[\w.]+", text)) - {"http://www.w3.org", "http://127.0.0.1"}
        assert name == "runbook.html" or outside == set(), name
    body = json.loads((tmp_path / "page" / "dashboard.json").read_text())
    assert [s["title"] for s in body["sections"]] == list(TRAINING)
    assert body["links"] == {"Airflow": "http://127.0.0.1:1"}
    write_page(tmp_path / "page", {})
    assert json.loads((tmp_path / "page" / "dashboard.json").read_text()) == page_data(MADE, {})


def test_every_alert_s_link_is_a_heading_of_the_runbook_s_page() -> None:
    ids = Found(runbook_page(RUNBOOK.read_text())).ids
    for alert in read_alerts(ALERTS.read_text()):
        file, _, heading = alert.runbook.partition("#")
        assert (file, heading in ids) == ("docs/runbook.md", True), alert.name
    assert anchor("Where `laps` land, and who reads") == "where-laps-land-and-who-reads"


def test_the_runbook_s_links_within_lead_somewhere() -> None:
    page = Found(runbook_page(RUNBOOK.read_text()))
    assert {a[1:] for a in page.addresses if a.startswith("#")} <= page.ids


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "page")]) == 0
    assert f"--web.user-assets={tmp_path / 'page'}" in capsys.readouterr().out
    assert (tmp_path / "page" / "index.html").exists()


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_numbers_are_written_as_people_read_them(tmp_path: Path) -> None:
    cases = {
        "0": (0, "1"), "3": (3, "1"), "12.3 k": (12345, "1"), "2.5 M/s": (2.5e6, "1/s"), "1.5 GiB": (1.5 * 2**30, "By"),
        "12 KiB/s": (12288, "By/s"), "80 ms": (0.08, "s"), "42 s": (42, "s"), "12 h": (43200, "s"), "97 %": (97.0, "%"),
        "$ 185": (185, "{USD}"),
    }  # fmt: skip
    script = f"""import {{ formatted, niceStep, named }} from "{PAGE / "format.js"}";
    console.log(JSON.stringify([{json.dumps(list(cases.values()))}.map(([v, u]) => formatted(v, u)),
      niceStep(10, 4, "s"), niceStep(700, 4, "s"), niceStep(1, 4, "1"), niceStep(3e9, 4, "By"), named("{{a}} of {{b}}", {{ a: "x" }})]))"""
    path = tmp_path / "numbers.mjs"
    path.write_text(script)
    done = subprocess.run(["node", str(path)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    texts, *rest = json.loads(done.stdout)
    assert texts == list(cases)
    assert rest == [5, 300, 1, 2**30, "x of -"]
