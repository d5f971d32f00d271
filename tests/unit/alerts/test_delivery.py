"""Alerts over real HTTP and SMTP: to the right team, once, tried again, and never lost or in the way."""

import email
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from f1_training.alerts.alert import Alert, mail, pagerduty_body, slack_body
from f1_training.alerts.delivery import OUTBOX, Delivery
from f1_training.core.retry import Team
from f1_training.core.settings import Settings
from tests.fakes.receiver import Received, http_receiver, smtp_receiver
from tests.fakes.run_plan import settings
from trainer.contract import FailureReason

ALERT = Alert(
    team=Team.DATA,
    reason=FailureReason.DATA_INVALID,
    title="DataInvalid: validate of tire_degradation failed in f1_training",
    text="3 of 40 checks failed: keys(train), rows(test) <0>",
    key="DataInvalid/f1_training/validate/tire_degradation",
    dag_id="f1_training",
    run_id="scheduled__1",
    task_id="model.validate.validate",
    log_url="http://airflow/log",
    report_uri="gs://artifacts/job/checks.json",
)
SLACK = {"kind": "slack", "conn_id": "slack_data"}
PAGER = {"kind": "pagerduty", "conn_id": "pager"}
MAIL = {"kind": "email", "conn_id": "smtp", "to": ["data@example.org", "ml@example.org"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def deployed(folder: Path, **routes: Any) -> Settings:
    return settings(folder.as_uri(), alerts={"routes": routes})


class Desk:
    """Delivery with a clock, pauses that are only counted, and connections by id."""

    def __init__(self, deployed: Settings, connections: dict[str, Connection]) -> None:
        self.paused: list[float] = []
        self.time = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)
        self.delivery = Delivery(
            settings=deployed,
            connection=lambda name: connections[name],
            sleep=self.paused.append,
            now=lambda: self.time,
        )

    def tell(self, alert: Alert = ALERT) -> list[str]:
        return self.delivery.tell(alert)


def slack_at(receiver: Received) -> Connection:
    return Connection(conn_id="slack_data", conn_type="slackwebhook", host=receiver.url, password="T0/B0/secret")


def test_slack_gets_the_failure_with_its_links_and_no_markup_of_ours(folder: Path) -> None:
    with http_receiver() as receiver:
        lines = Desk(deployed(folder, data=[SLACK]), {"slack_data": slack_at(receiver)}).tell()
    assert lines == ["told through slack (slack_data)"]
    ((path, body),) = receiver.posts
    assert path == "/T0/B0/secret"
    text = body["blocks"][0]["text"]["text"]
    assert "rows(test) &lt;0&gt;" in text
    assert "report: gs://artifacts/job/checks.json" in text
    assert body["text"] == ALERT.title
    assert not (folder / "artifacts" / OUTBOX).exists()


def test_a_webhook_s_whole_url_may_be_the_password(folder: Path) -> None:
    with http_receiver() as receiver:
        connection = Connection(conn_id="slack_data", conn_type="slackwebhook", password=f"{receiver.url}/services/x")
        Desk(deployed(folder, data=[SLACK]), {"slack_data": connection}).tell()
    assert [path for path, _ in receiver.posts] == ["/services/x"]


def test_on_call_is_paged_with_one_incident_a_key(folder: Path) -> None:
    page = replace(ALERT, team=Team.ON_CALL, reason=FailureReason.CHIEF_LOST)
    with http_receiver() as receiver:
        connection = Connection(
            conn_id="pager", conn_type="pagerduty_events", host=receiver.url, password="routing-key"
        )
        Desk(deployed(folder, **{"on-call": [PAGER]}), {"pager": connection}).tell(page)
    ((path, body),) = receiver.posts
    assert (path, body["routing_key"], body["event_action"]) == ("/v2/enqueue", "routing-key", "trigger")
    assert (body["dedup_key"], body["payload"]["severity"]) == (ALERT.key, "critical")
    assert body["links"] == [{"text": "log", "href": "http://airflow/log"}]


def test_e_mail_reaches_every_address(folder: Path) -> None:
    with smtp_receiver() as receiver:
        connection = Connection(
            conn_id="smtp",
            conn_type="smtp",
            host="127.0.0.1",
            port=receiver.port,
            extra=json.dumps({"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.org"}),
        )
        Desk(deployed(folder, data=[MAIL]), {"smtp": connection}).tell()
    (raw,) = receiver.mails
    message = email.message_from_string(raw)
    assert message["To"] == "data@example.org, ml@example.org"
    assert message["Subject"] == ALERT.title
    assert "&lt;0&gt;" in message.get_payload()[1].get_payload(decode=True).decode()  # type: ignore[union-attr, index]


def test_a_delivery_that_fails_is_tried_again(folder: Path) -> None:
    with http_receiver() as receiver:
        receiver.refuse = 2
        desk = Desk(deployed(folder, data=[SLACK]), {"slack_data": slack_at(receiver)})
        assert desk.tell() == ["told through slack (slack_data)"]
    assert len(receiver.posts) == 1
    assert desk.paused == [1.0, 4.0]


def test_what_cannot_be_delivered_is_kept_and_hides_nothing(folder: Path) -> None:
    with http_receiver() as receiver:
        receiver.refuse = 99
        (line,) = Desk(deployed(folder, data=[SLACK]), {"slack_data": slack_at(receiver)}).tell()
    assert line.startswith("slack (slack_data) failed 3 times, at last with ConnectionError: answered 503")
    (kept,) = (folder / "artifacts" / OUTBOX).iterdir()
    assert json.loads(kept.read_text())["title"] == ALERT.title


def test_a_webhook_s_secret_is_in_no_message_and_no_file(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with http_receiver() as receiver:
        connection = slack_at(receiver)
    (line,) = Desk(deployed(folder, data=[SLACK]), {"slack_data": connection}).tell()
    assert "ConnectionError" in line
    (kept,) = (folder / "artifacts" / OUTBOX).iterdir()
    assert "T0/B0/secret" not in line + caplog.text + kept.read_text()


def test_one_dead_channel_does_not_keep_the_other_from_being_told(folder: Path) -> None:
    with http_receiver() as receiver:
        desk = Desk(deployed(folder, data=[MAIL, SLACK]), {"slack_data": slack_at(receiver)})
        lines = desk.tell()
    assert lines[0].startswith("email (smtp) failed 3 times, at last with KeyError")
    assert lines[1] == "told through slack (slack_data)"


@pytest.mark.parametrize(
    ("routes", "team", "told"),
    [
        ({"data": [SLACK]}, Team.DATA, True),
        ({"owners": [SLACK]}, Team.DATA, True),
        ({"owners": [SLACK]}, Team.NOBODY, True),
        ({"ml": [SLACK]}, Team.DATA, False),
        ({}, Team.NOBODY, False),
    ],
)
def test_a_team_without_a_route_is_the_owners_and_without_those_the_outbox(
    folder: Path, routes: dict[str, Any], team: Team, told: bool
) -> None:
    with http_receiver() as receiver:
        Desk(deployed(folder, **routes), {"slack_data": slack_at(receiver)}).tell(replace(ALERT, team=team))
    assert len(receiver.posts) == told
    assert (folder / "artifacts" / OUTBOX).exists() is not told


def test_the_same_failure_is_told_once_within_the_window(folder: Path) -> None:
    with http_receiver() as receiver:
        desk = Desk(deployed(folder, data=[SLACK]), {"slack_data": slack_at(receiver)})
        desk.tell()
        assert desk.tell() == [f"not told again: {ALERT.key}"]
        desk.tell(replace(ALERT, key="another"))
        desk.time += timedelta(hours=1)
        desk.tell()
    assert len(receiver.posts) == 3


def test_storage_that_fails_keeps_nobody_from_being_told(folder: Path) -> None:
    (folder / "artifacts").write_text("a file where a folder should be")
    with http_receiver() as receiver:
        Desk(deployed(folder, data=[SLACK]), {"slack_data": slack_at(receiver)}).tell()
    assert len(receiver.posts) == 1


def test_without_channel_and_storage_the_log_has_it(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "artifacts").write_text("a file where a folder should be")
    with caplog.at_level("INFO"):
        (line,) = Desk(deployed(folder), {}).tell()
    assert "not kept either" in line
    assert line in caplog.text


def test_long_texts_are_cut_where_channels_end() -> None:
    long = replace(ALERT, text="x" * 5000, title="t" * 2000)
    assert len(slack_body(replace(long, title="t"))["blocks"][0]["text"]["text"]) <= 3000
    assert len(pagerduty_body(long, "key")["payload"]["summary"]) == 1000
    assert mail(replace(ALERT, title="a\nb"), "from@example.org", ("to@example.org",))["Subject"] == "a b"
