"""The alerts: their file, and each query evaluated by promtool on series that must fire it and on some that must not."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from composer.monitoring.rules import ALERTS, METRIC, for_cloud_monitoring, main, prometheus_rules, read_alerts
from trainer.contract import ContractError, FailureReason
from trainer.contract.metrics import METRICS

REPOSITORY = Path(__file__).parents[3]
ALL = {alert.name: alert for alert in read_alerts(ALERTS.read_text())}
PROMTOOL = shutil.which("promtool", path=f"{REPOSITORY / 'var/tools'}:/usr/local/bin:/usr/bin")
MODEL = 'model_type="m",job_id="j"'
FINISHED = "training_job_finished"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Series, a value a minute, and whether the alert fires ``at`` (and with which labels)."""

    alert: str
    series: dict[str, str]
    at: str
    labels: dict[str, str] | None = None


def fires(alert: str, series: dict[str, str], at: str, **labels: str) -> Case:
    return Case(alert=alert, series=series, at=at, labels=labels)


def silent(alert: str, series: dict[str, str], at: str) -> Case:
    return Case(alert=alert, series=series, at=at)


def finished(status: str, values: str, reason: str = "none") -> dict[str, str]:
    return {f'{FINISHED}{{model_type="m",status="{status}",reason="{reason}"}}': values}


def memory(used: int) -> dict[str, str]:
    labels = '{job_id="j",worker_index="2"}'
    return {
        f"training_worker_memory_usage_bytes{labels}": f"{used}x10",
        f"training_worker_memory_limit_bytes{labels}": "1000x10",
    }


TIMEOUT = f"training_job_duration_seconds{{{MODEL}}}"
RESTARTS = f"training_chief_restarts{{{MODEL}}}"
ROUNDS = f"training_progress_iterations_completed{{{MODEL}}}"
JOB = {"model_type": "m", "job_id": "j"}
CASES = {
    "twelve hours and ten minutes": fires("training-job-timeout", {TIMEOUT: "43000+60x20"}, "15m", **JOB),
    "eleven hours": silent("training-job-timeout", {TIMEOUT: "39000+60x20"}, "15m"),
    "one of two failed": fires(
        "training-job-failure-rate", {**finished("succeeded", "1x30"), **finished("failed", "1x30", "Bug")}, "10m"
    ),
    "the first failure of an exporter that counts": fires(
        "training-job-failure-rate",
        {**finished("succeeded", "7x90 8x60"), **finished("failed", "2x90 3x60", "Bug")},
        "110m",
    ),
    "one of ten failed": silent(
        "training-job-failure-rate", {**finished("succeeded", "9x30"), **finished("failed", "1x30", "Bug")}, "10m"
    ),
    "failures of yesterday": silent(
        "training-job-failure-rate", {**finished("succeeded", "9x200"), **finished("failed", "5x200", "Bug")}, "190m"
    ),
    "nearly all memory": fires("worker-oom", memory(960), "5m", job_id="j", worker_index="2"),
    "much memory": silent("worker-oom", memory(940), "5m"),
    "one point of a new series": fires(
        "data-validation-failure", finished("failed", "_x5 1 _x60", "DataInvalid"), "30m", model_type="m"
    ),
    "one more in a known series": fires(
        "data-validation-failure", finished("failed", "4x100 5x60", "DataInvalid"), "110m", model_type="m"
    ),
    "an exporter that began anew": silent(
        "data-validation-failure", finished("failed", "4x100 2x60", "DataInvalid"), "110m"
    ),
    "another reason": silent("data-validation-failure", finished("failed", "1x60", "Bug"), "30m"),
    "a third chief": fires("chief-restarts", {RESTARTS: "2x5"}, "2m", **JOB),
    "a second chief": silent("chief-restarts", {RESTARTS: "1x5"}, "2m"),
    "half an hour without a round": fires("stuck-progress", {ROUNDS: "5x60"}, "40m", **JOB),
    "a slow job": silent("stuck-progress", {ROUNDS: "0 0 0 0 0 0 0 1 1 1 1 1 1 1 1+0.125x60"}, "40m"),
    "a job that just began": silent("stuck-progress", {ROUNDS: "0x10 1+1x60"}, "15m"),
    "a job that ended": silent("stuck-progress", {ROUNDS: "0+5x5 25x2 stale _x60"}, "35m"),
    "most of the budget": fires(
        "budget", {"training_cost_month_to_date": "185 _x900", "training_cost_budget": "200 _x900"}, "12h"
    ),
    "half of the budget": silent(
        "budget", {"training_cost_month_to_date": "100 _x900", "training_cost_budget": "200 _x900"}, "12h"
    ),
}


def promtool_test(case: Case) -> dict[str, Any]:
    alert, expected = ALL[case.alert], []
    if case.labels is not None:
        annotations = {"summary": alert.summary, "runbook_url": alert.runbook}
        expected = [{"exp_labels": {"severity": alert.severity, **case.labels}, "exp_annotations": annotations}]
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}],
    }


def run(tmp_path: Path, *arguments: str, **files: object) -> subprocess.CompletedProcess[str]:
    for name, body in files.items():
        (tmp_path / f"{name}.yaml").write_text(json.dumps(body))
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)


needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed; .ci/prometheus fetches it")


@needs_promtool
def test_prometheus_reads_the_rules(tmp_path: Path) -> None:
    done = run(tmp_path, "check", "rules", "rules.yaml", rules=prometheus_rules(list(ALL.values())))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_must_and_only_then(tmp_path: Path, name: str) -> None:
    rules = prometheus_rules(list(ALL.values()))
    tests = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [promtool_test(CASES[name])]}
    done = run(tmp_path, "test", "rules", "tests.yaml", rules=rules, tests=tests)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    for expected in (True, False):
        assert {c.alert for c in CASES.values() if (c.labels is not None) is expected} == set(ALL)


def test_the_specification_s_four_and_three_more() -> None:
    assert {name: alert.severity for name, alert in ALL.items()} == {
        "training-job-timeout": "warning",
        "training-job-failure-rate": "critical",
        "worker-oom": "warning",
        "data-validation-failure": "critical",
        "chief-restarts": "warning",
        "stuck-progress": "critical",
        "budget": "warning",
    }


def test_queries_name_metrics_that_there_are_and_their_labels() -> None:
    known = {m.prometheus_name: m for m in METRICS.values()}
    for alert in ALL.values():
        named = METRIC.findall(alert.expr)
        assert named
        assert set(named) <= set(known), alert.name
        for name, condition in re.findall(r"(\btraining_\w+)\{([^}]*)\}", alert.expr):
            labels = set(re.findall(r"(\w+)=", condition))
            assert labels <= set(known[name].labels), alert.name
        for reason in re.findall(r'reason="(\w+)"', alert.expr):
            assert reason in set(FailureReason)


def test_cloud_monitoring_s_names_are_a_prefix_away() -> None:
    made = for_cloud_monitoring(ALL["worker-oom"].expr)
    assert "(custom_googleapis_com:training_worker_memory_usage_bytes)" in made
    assert made.count("custom_googleapis_com:") == 2


def test_terraform_can_read_the_file_as_a_template() -> None:
    text = ALERTS.read_text()
    names = set(yaml.safe_load(text)["thresholds"])
    assert set(re.findall(r"\$\{(.*?)\}", text)) == names
    assert "%{" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("severity: warning", "severity: urgent"), "training-job-timeout.severity"),
        (('for: "5m"', 'for: "5"'), "training-job-timeout.for"),
        (("  job_timeout_seconds: 43200\n", ""), "job_timeout_seconds; not in thresholds"),
        (("thresholds:\n", "thresholds:\n  idle: 1\n"), "idle: no alert uses it"),
        (("    runbook: docs/runbook.md#training-job-timeout\n", ""), "training-job-timeout: has fields"),
    ],
)
def test_a_wrong_file_is_refused_by_name(change: tuple[str, str], message: str) -> None:
    text = ALERTS.read_text()
    assert change[0] in text
    with pytest.raises(ContractError, match=re.escape(message)):
        read_alerts(text.replace(*change, 1))


def test_the_command_prints_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--base-url", "https://example.com/"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    (group,) = printed["groups"]
    assert [rule["alert"] for rule in group["rules"]] == list(ALL)
    assert group["rules"][0]["annotations"]["runbook_url"].startswith("https://example.com/docs/runbook.md#")
    assert main(["--cloud-monitoring"]) == 0
    assert "(custom_googleapis_com:training_job_duration_seconds)" in capsys.readouterr().out
