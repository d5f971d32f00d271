"""An alert, and how each kind of channel words it. Pure."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from f1_training.core.retry import Team
from trainer.contract import FailureReason

#: Reasons that wake somebody up; everything else can wait for the morning.
CRITICAL = (FailureReason.CHIEF_LOST,)
#: Slack shows no more of a block, PagerDuty of a summary.
SLACK_TEXT, PAGERDUTY_SUMMARY = 2900, 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """``team`` is told of a task's final failure, once for each ``key`` within a while.

    ``text`` is the failure in words with the decision, ``log_url`` the task's log in Airflow, ``report_uri`` the data
    checks' report where there is one.
    """

    team: Team
    reason: FailureReason
    title: str
    text: str
    key: str
    dag_id: str
    run_id: str
    task_id: str
    log_url: str = ""
    report_uri: str = ""

    @property
    def severity(self) -> str:
        """In PagerDuty's words."""
        return "critical" if self.reason in CRITICAL else "error"

    def links(self) -> Mapping[str, str]:
        """Where to look, by name."""
        return {name: where for name, where in (("log", self.log_url), ("report", self.report_uri)) if where}


def slack_body(alert: Alert) -> dict[str, Any]:
    """For an incoming webhook."""
    links = "\n".join(f"{name}: {where}" for name, where in alert.links().items())
    text = f"*{_slack(alert.title)}*\n{_slack(_cut(alert.text, SLACK_TEXT))}\n{_slack(links)}".rstrip()
    block = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
    return {"text": alert.title, "blocks": [block]}


def pagerduty_body(alert: Alert, routing_key: str) -> dict[str, Any]:
    """For the Events API v2. The same key again is the same incident."""
    links = [{"text": name, "href": where} for name, where in alert.links().items() if where.startswith("http")]
    return {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": alert.key[:255],
        "payload": {
            "summary": _cut(alert.title, PAGERDUTY_SUMMARY),
            "source": f"airflow/{alert.dag_id}",
            "severity": alert.severity,
            "component": alert.task_id,
            "custom_details": {"text": alert.text, "run_id": alert.run_id, **alert.links()},
        },
        "links": links,
    }


def mail(alert: Alert, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """Plain text, and the same as HTML."""
    message = EmailMessage()
    message["Subject"] = alert.title.replace("\n", " ")
    message["From"], message["To"] = sender, ", ".join(to)
    lines = [alert.text, "", *(f"{name}: {where}" for name, where in alert.links().items())]
    message.set_content("\n".join(lines))
    message.add_alternative("<br>".join(html.escape(line) for line in lines), subtype="html")
    return message


def _slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
