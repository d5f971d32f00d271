"""``python -m composer.monitoring.rules``: the alerts as a file of Prometheus' rules, on standard output."""

from __future__ import annotations

import argparse
import re
import string
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from trainer.contract.fields import ContractError, require
from trainer.contract.metrics import CLOUD_PROMQL_PREFIX

ALERTS = Path(__file__).with_name("alerts.yaml")
SEVERITIES = ("critical", "warning")
FIELDS = {"name", "summary", "expr", "for", "severity", "runbook"}
NAME, DURATION = re.compile(r"[a-z]+(-[a-z]+)*"), re.compile(r"\d+[smh]")
#: A metric's name in a query. Labels and functions do not begin so.
METRIC = re.compile(r"\btraining_\w+")


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertRule:
    """One alert. ``expr`` is PromQL that is true while it fires, ``runbook`` a file of the repository and a heading."""

    name: str
    summary: str
    expr: str
    hold: str
    severity: str
    runbook: str

    def __post_init__(self) -> None:
        require(bool(NAME.fullmatch(self.name)), "name", f"is {self.name!r}; words with - between")
        require(bool(DURATION.fullmatch(self.hold)), f"{self.name}.for", f"is {self.hold!r}; such as 5m")
        expected = " or ".join(SEVERITIES)
        require(self.severity in SEVERITIES, f"{self.name}.severity", f"is {self.severity!r}; {expected}")
        require("#" in self.runbook, f"{self.name}.runbook", f"is {self.runbook!r}; file#heading")


def read_alerts(text: str) -> tuple[AlertRule, ...]:
    """The alerts in ``text`` (``alerts.yaml``), with thresholds in place.

    Raises:
        ContractError: naming the alert and what is wrong with it.
    """
    body = yaml.safe_load(text)
    thresholds = {name: str(value) for name, value in body["thresholds"].items()}
    used: set[str] = set()
    made = []
    for entry in body["alerts"]:
        name = str(entry.get("name"))
        require(set(entry) == FIELDS, name, f"has fields {sorted(entry)}; expected {sorted(FIELDS)}")
        query = string.Template(entry["expr"])
        wanted = set(query.get_identifiers())
        unknown = sorted(wanted - set(thresholds))
        require(not unknown, f"{name}.expr", f"names {', '.join(unknown)}; not in thresholds")
        used |= wanted
        fields = {key: str(entry[key]) for key in ("name", "summary", "severity", "runbook")}
        made.append(AlertRule(**fields, expr=query.substitute(thresholds), hold=str(entry["for"])))
    idle = sorted(set(thresholds) - used)
    require(not idle, "thresholds", f"{', '.join(idle)}: no alert uses it")
    return tuple(made)


def for_cloud_monitoring(expr: str) -> str:
    """``expr`` on the metrics that Google's client writes."""
    return METRIC.sub(lambda found: CLOUD_PROMQL_PREFIX + found[0], expr)


def prometheus_rules(alerts: Sequence[AlertRule], base_url: str = "") -> Mapping[str, Any]:
    """A file of rules, as Prometheus and ``promtool`` read it. ``base_url`` is what the runbook's path is put after."""
    rules = [
        {
            "alert": alert.name,
            "expr": alert.expr,
            "for": alert.hold,
            "labels": {"severity": alert.severity},
            "annotations": {"summary": alert.summary, "runbook_url": base_url + alert.runbook},
        }
        for alert in alerts
    ]
    return {"groups": [{"name": "f1-training", "rules": rules}]}


def main(argv: Sequence[str]) -> int:
    """Print the rules."""
    parser = argparse.ArgumentParser(prog="python -m composer.monitoring.rules", description=__doc__)
    parser.add_argument("--base-url", default="", help="what links to the runbook begin with")
    parser.add_argument("--cloud-monitoring", action="store_true", help="on the metrics that Google's client writes")
    arguments = parser.parse_args(argv)
    try:
        alerts = read_alerts(ALERTS.read_text(encoding="utf-8"))
    except ContractError as e:
        print(f"error: {ALERTS}: {e}", file=sys.stderr)
        return 1
    if arguments.cloud_monitoring:
        alerts = tuple(replace(alert, expr=for_cloud_monitoring(alert.expr)) for alert in alerts)
    rules = prometheus_rules(alerts, arguments.base_url)
    print(yaml.safe_dump(dict(rules), sort_keys=False, width=120), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
