"""What people read of monitoring is what there is: a section for every alert and reason, a row for every metric."""

import re
from pathlib import Path

import pytest

from composer.monitoring.metrics_table import metrics_table
from composer.monitoring.rules import ALERTS, read_alerts
from trainer.contract import FailureReason

REPOSITORY = Path(__file__).parents[3]
RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text()
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^#|\Z)", RUNBOOK, re.DOTALL | re.MULTILINE))
PARTS = ("**Symptom.**", "**Done already.**", "**Look at.**", "**Do.**")
ALERTING = read_alerts(ALERTS.read_text())


def test_every_alert_links_to_its_section() -> None:
    assert {a.runbook for a in ALERTING} == {f"docs/runbook.md#{a.name}" for a in ALERTING}
    assert {a.name for a in ALERTING} | set(FailureReason) == set(SECTIONS)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_says_what_was_done_and_what_to_do(name: str) -> None:
    assert [p for p in PARTS if SECTIONS[name].count(p) != 1] == []


def test_links_within_the_runbook_lead_somewhere() -> None:
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= {name.lower() for name in SECTIONS}


def test_the_page_on_monitoring_has_every_metric_and_every_alert() -> None:
    page = (REPOSITORY / "docs" / "monitoring.md").read_text()
    assert f"metrics_table -->\n{metrics_table()}\n<!-- end -->" in page
    rows = re.findall(r"^\| `([a-z-]+)` \| .* \| (warning|critical) \|$", page, re.MULTILINE)
    assert dict(rows) == {a.name: a.severity for a in ALERTING}
