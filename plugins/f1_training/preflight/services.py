"""Checks of what a deployment may use and need not: Vertex AI, the bill, prediction servers, Cloud Monitoring.

What the settings do not name is not tried, and said so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from f1_training.core.metrics import Reading, write_to_cloud_monitoring
from f1_training.core.settings import ServingSettings, Settings
from f1_training.preflight.report import Finding, Verdict, tried
from trainer.contract import FailureReason, TrainingFailure
from trainer.contract.metrics import METRICS, Exporter

#: Of one request to a prediction server.
REQUEST_S = 10.0
VERTEX = (
    "Airflow's account needs roles/aiplatform.user on the project; region, endpoints and serving_image are those of "
    "the section vertex of the Variable f1_training"
)
BILL = (
    "switch on Cloud Billing's detailed usage cost export; Airflow's account needs roles/bigquery.dataViewer on its "
    "dataset, and costs.location of the Variable f1_training is where that dataset lies"
)
SERVER = "serving.urls of the Variable f1_training names the server; its pod's log says why it does not answer"
MONITORING = (
    "Airflow's account needs roles/monitoring.metricWriter on the project, and the API monitoring.googleapis.com has "
    "to be on; or take cloud_monitoring out of metrics.exporters of the Variable f1_training"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """How what is optional is asked: each returns what it found, and raises what is wrong."""

    vertex: Callable[[], str]
    bill: Callable[[], str]


def service_checks(settings: Settings, services: Services) -> Iterator[Finding]:
    """Try what ``settings`` name, one after the other."""
    if settings.vertex.region:
        yield tried("Vertex AI", VERTEX, services.vertex)
    else:
        yield _skipped("Vertex AI", "vertex.region is not set: nothing is uploaded or deployed there")
    if settings.costs.billing_table:
        yield tried("bill", BILL, services.bill)
    else:
        yield _skipped("bill", "costs.billing_table is not set: no cost is reported")
    for model, url in sorted(settings.serving.urls.items()):
        yield tried(f"server of {model}", SERVER, lambda m=model, u=url: _server(m, u, settings.serving))  # type: ignore[misc]
    if not settings.serving.urls:
        yield _skipped("prediction servers", "serving.urls names none: champions are registered, and not awaited")
    yield _monitoring(settings)


def _skipped(check: str, found: str) -> Finding:
    return Finding(check=check, verdict=Verdict.SKIP, found=found)


def _server(model_type: str, url: str, serving: ServingSettings) -> str:
    """What a server says of itself. One that has no champion to serve yet is as it should be."""
    import requests

    route = url.rstrip("/") + serving.health_route
    try:
        answer = requests.get(route, timeout=REQUEST_S)
        said = answer.json()
    except (requests.RequestException, ValueError) as e:
        message = f"{route} gives no answer of a prediction server: {e}"
        raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, message) from e
    return _said(model_type, route, answer.status_code, said)


def _said(model_type: str, route: str, status: int, said: Any) -> str:
    about: dict[str, Any] = said if isinstance(said, dict) else {}
    served = about.get("model_type")
    if served == model_type:
        return f"{route} serves version {about.get('model_version')}"
    if served is None and status == 503 and about.get("error"):
        return f"{route} answers, and serves nothing yet: {about['error']}"
    what = f"serves {served}, not {model_type}" if served else f"answered {status}: {str(said)[:200]}"
    raise TrainingFailure(FailureReason.CONFIG_INVALID, f"{route} {what}")


def _monitoring(settings: Settings) -> Finding:
    check = "Cloud Monitoring"
    if Exporter.CLOUD_MONITORING not in settings.metrics.exporters:
        return _skipped(check, "metrics.exporters does not name cloud_monitoring: nothing is written there")
    if not settings.costs.budget_usd:
        return _skipped(check, "costs.monthly_usd is 0 in all: there is no point to write that would be true")
    return tried(check, MONITORING, lambda: _written(settings))


def _written(settings: Settings) -> str:
    """Write the budget: a point that is true, in the series of the cost report."""
    budget = METRICS["training.cost.budget"]
    write_to_cloud_monitoring(settings, [Reading(name=budget.name, value=settings.costs.budget_usd)], "costs")
    return f"a point of {budget.cloud_type} was written to {settings.project}"
