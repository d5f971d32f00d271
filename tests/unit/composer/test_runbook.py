"""The runbook has a section for every alert and every reason, and each says what a person needs."""

import re
from pathlib import Path

import pytest

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
