"""Alerts on their way: told once, tried again, and kept in an outbox where nobody could be reached.

Nothing here raises: the failure that is told of must not be hidden by the telling.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import smtplib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from f1_training.alerts.alert import Alert, mail, pagerduty_body, slack_body
from f1_training.core.numbered import NumberedLog
from f1_training.core.retry import Team
from f1_training.core.settings import OWNERS, Channel, ChannelKind, Settings
from f1_training.core.storage import open_store
from trainer.contract.fields import Document, encode

log = logging.getLogger(__name__)

TRIES, TIMEOUT_S = 3, 10.0
BACK_OFF_S = (1.0, 4.0)
TOLD, OUTBOX = "_alerts/told", "_alerts/outbox"
PAGERDUTY = "https://events.pagerduty.com"
SLACK = "https://hooks.slack.com/services"


@dataclass(frozen=True, kw_only=True, slots=True)
class Told(Document):
    """That ``key`` was told at ``at``, RFC 3339 in UTC."""

    KIND: ClassVar[str] = "alert-told"

    number: int
    key: str
    at: str


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Sends alerts as ``settings.alerts`` routes them. ``connection`` gives an Airflow connection by its id."""

    settings: Settings
    connection: Callable[[str], Any]
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = field(default=_now)

    def tell(self, alert: Alert) -> list[str]:
        """Deliver ``alert``, unless its key was told a while ago. Returns what became of it, a line a channel."""
        try:
            if self._told_before(alert):
                return [f"not told again: {alert.key}"]
        except Exception as e:  # noqa: BLE001 - rather twice than not at all
            log.warning("whether %s was told before is not known: %s", alert.key, e)
        channels = self._channels(alert.team)
        lines = [self._through(channel, alert) for channel in channels]
        if not channels:
            lines.append(self._keep(alert, f"no channel is configured for {alert.team.value or OWNERS}"))
        for line in lines:
            log.info("alert %s: %s", alert.key, line)
        return lines

    def _channels(self, team: Team) -> Sequence[Channel]:
        routes = self.settings.alerts.routes
        return routes.get(team.value or OWNERS) or routes.get(OWNERS) or ()

    def _told_before(self, alert: Alert) -> bool:
        """Whether somebody has, or we do now: of two that fail at once one tells."""
        now, window = self.now(), timedelta(seconds=self.settings.alerts.repeat_after_s)
        folder = f"{TOLD}/{hashlib.sha256(alert.key.encode()).hexdigest()[:32]}"
        told = NumberedLog(store=open_store(self.settings.uris.artifacts), folder=folder, kind=Told)

        def make(newest: Told | None) -> Told | None:
            if newest is not None and now - datetime.fromisoformat(newest.at) < window:
                return None
            return Told(number=newest.number + 1 if newest else 1, key=alert.key, at=now.isoformat())

        return told.append(make) is None

    def _through(self, channel: Channel, alert: Alert) -> str:
        name = f"{channel.kind.value} ({channel.conn_id})"
        problem, secret = "", None
        for number in range(TRIES):
            try:
                connection = self.connection(channel.conn_id)
                secret = connection.password
                SENDERS[channel.kind](connection, channel, alert)
                return f"told through {name}"
            except Exception as e:  # noqa: BLE001 - whatever it is, it must not hide the failure
                problem = _shown(e, secret)
                log.warning("alert through %s, try %s of %s: %s", name, number + 1, TRIES, problem)
            if number < len(BACK_OFF_S):
                self.sleep(BACK_OFF_S[number])
        return self._keep(alert, f"{name} failed {TRIES} times, at last with {problem}")

    def _keep(self, alert: Alert, why: str) -> str:
        """Leave it where it is found by who looks."""
        name = f"{OUTBOX}/{self.now():%Y%m%dT%H%M%S%f}.json"
        try:
            store = open_store(self.settings.uris.artifacts)
            store.create(name, _document(alert, why))
        except Exception as e:  # noqa: BLE001 - the last resort is the log
            return f"{why}; not kept either: {e}"
        return f"{why}; kept as {store.uri_of(name)}"


def try_channel(channel: Channel, connection: Callable[[str], Any], alert: Alert) -> str:
    """Whether ``channel`` would work, without waking anybody: Slack gets ``alert``, PagerDuty the end of an incident
    that never was, a mail server a login.

    Returns what was done.

    Raises:
        ConnectionError: what went wrong, without secrets.
    """
    found, secret = None, None
    try:
        found = connection(channel.conn_id)
        secret = found.password
        if channel.kind is ChannelKind.PAGERDUTY:
            _post(
                f"{_url(found, PAGERDUTY)}/v2/enqueue",
                {**pagerduty_body(alert, secret or ""), "event_action": "resolve"},
            )
            return "the routing key is taken"
        if channel.kind is ChannelKind.EMAIL:
            with _smtp(found) as server:
                server.noop()
            return f"{found.host} takes mail, for {', '.join(channel.to)}"
        _slack(found, channel, alert)
    except Exception as e:  # noqa: BLE001 - any of them may name the secret
        raise ConnectionError(_shown(e, secret)) from None
    return "a test message was sent"


def _shown(error: Exception, secret: str | None) -> str:
    """Errors of HTTP name the URL, and a webhook's URL is its password."""
    return f"{type(error).__name__}: {error}".replace(secret or "\0", "***")


def _document(alert: Alert, why: str) -> bytes:
    return json.dumps({"why": why, **encode(alert)}, indent=2).encode()


def _post(url: str, body: Any) -> None:
    import requests

    answer = requests.post(url, json=body, timeout=TIMEOUT_S)
    if answer.status_code >= 300:
        raise ConnectionError(f"answered {answer.status_code}: {answer.text[:200]}")


def _slack(connection: Any, _channel: Channel, alert: Alert) -> None:
    # As Airflow's Slack provider has it: the whole URL, or the token below the host, is the password.
    secret = connection.password or ""
    base = _url(connection, SLACK)
    _post(secret if secret.startswith("http") else f"{base}/{secret.lstrip('/')}", slack_body(alert))


def _pagerduty(connection: Any, _channel: Channel, alert: Alert) -> None:
    _post(f"{_url(connection, PAGERDUTY)}/v2/enqueue", pagerduty_body(alert, connection.password or ""))


def _url(connection: Any, default: str) -> str:
    if not connection.host:
        return default
    host = connection.host if "://" in connection.host else f"{connection.schema or 'https'}://{connection.host}"
    return host.rstrip("/") + (f":{connection.port}" if connection.port else "")


def _email(connection: Any, channel: Channel, alert: Alert) -> None:
    sender = connection.extra_dejson.get("from_email") or "f1-training@localhost"
    with _smtp(connection) as server:
        server.send_message(mail(alert, sender, channel.to))


@contextlib.contextmanager
def _smtp(connection: Any) -> Iterator[smtplib.SMTP]:
    extra = connection.extra_dejson
    port = connection.port or (25 if extra.get("disable_ssl") else 465)
    kind = smtplib.SMTP if extra.get("disable_ssl") else smtplib.SMTP_SSL
    with kind(connection.host, port, timeout=TIMEOUT_S) as server:
        if extra.get("disable_ssl") and not extra.get("disable_tls"):
            server.starttls()
        if connection.login:
            server.login(connection.login, connection.password or "")
        yield server


SENDERS = {ChannelKind.SLACK: _slack, ChannelKind.PAGERDUTY: _pagerduty, ChannelKind.EMAIL: _email}
