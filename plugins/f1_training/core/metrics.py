"""Metrics that Airflow knows: told to Airflow's own metrics and, where it is set, to Cloud Monitoring. Never raises."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from f1_training.core.settings import Settings
from trainer.contract.cloud_points import Destination, Interval, number, point
from trainer.contract.fields import require
from trainer.contract.metrics import METRICS, Exporter, MetricDefinition, MetricKind, Source

log = logging.getLogger(__name__)

#: A task that ends waits so long for Cloud Monitoring and no longer.
DEADLINE_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """A metric of Airflow's: how much a counter grew, or what a gauge is. ``labels`` are those of the table."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        definition = METRICS.get(self.name)
        known = definition is not None and definition.source is Source.AIRFLOW
        require(known, "name", f"is {self.name!r}, no metric that Airflow records")
        labels = self.definition.labels
        require(set(self.labels) == set(labels), self.name, f"has labels {sorted(self.labels)}; expected {labels}")

    @property
    def definition(self) -> MetricDefinition:
        """Its line of the table."""
        return METRICS[self.name]


def report(settings: Settings, readings: Sequence[Reading], job: str) -> None:
    """Tell ``readings`` of ``job``, a name for who they are about. What goes wrong is logged and hides nothing."""
    for tell in (_tell_airflow, _tell_cloud_monitoring):
        try:
            tell(settings, readings, job)
        except Exception:
            log.warning("metrics could not be told (%s)", tell.__name__.removeprefix("_"), exc_info=True)


def _tell_airflow(_settings: Settings, readings: Sequence[Reading], _job: str) -> None:
    """StatsD or OpenTelemetry, where the deployment has set one up (``[metrics]``); nowhere otherwise."""
    from airflow.sdk.observability import stats

    for reading in readings:
        if reading.definition.kind is MetricKind.COUNTER:
            stats.incr(reading.name, round(reading.value), tags=dict(reading.labels))
        else:
            stats.gauge(reading.name, reading.value, tags=dict(reading.labels))


def _tell_cloud_monitoring(settings: Settings, readings: Sequence[Reading], job: str) -> None:
    if Exporter.CLOUD_MONITORING in settings.metrics.exporters:
        write_to_cloud_monitoring(settings, readings, job)


def write_to_cloud_monitoring(settings: Settings, readings: Sequence[Reading], job: str) -> None:
    """Write one point of each of ``readings``, with the credentials that Airflow's machine has.

    Raises:
        Exception: whatever Google's client raises. :func:`report` is for those whose task must not fail by it.
    """
    now = time.time()
    series = [_point(reading, settings, job, now) for reading in readings]
    connect(settings.metrics.endpoint).create_time_series(
        name=f"projects/{settings.project}", time_series=series, timeout=DEADLINE_S, retry=None
    )


def connect(endpoint: str) -> Any:
    """Google's client; with ``endpoint`` one that talks to it without encryption and credentials."""
    from google.cloud import monitoring_v3

    if not endpoint:
        return monitoring_v3.MetricServiceClient()
    import grpc
    from google.cloud.monitoring_v3.services.metric_service.transports import MetricServiceGrpcTransport

    transport = MetricServiceGrpcTransport(channel=grpc.insecure_channel(endpoint))
    return monitoring_v3.MetricServiceClient(transport=transport)


def _point(reading: Reading, settings: Settings, job: str, now: float) -> dict[str, Any]:
    definition = reading.definition
    # A task's process knows no earlier sum: each increase is a series of its own, which begins and ends with it.
    once = f"-{uuid.uuid4().hex[:8]}" if definition.kind is MetricKind.COUNTER else ""
    destination = Destination(
        project=settings.project,
        location=settings.metrics.location,
        namespace=settings.namespace,
        job=job,
        task=f"airflow{once}",
    )
    labels = [reading.labels[name] for name in definition.labels]
    return point(definition, labels, number(reading.value), destination, Interval(now - 1.0, now))
