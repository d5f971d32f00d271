"""A point of a metric as Cloud Monitoring's ``TimeSeries`` takes it, as plain data: pods and Airflow write the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.contract.metrics import MetricDefinition, MetricKind

#: Of ``google.api.MetricDescriptor``.
GAUGE_KIND, CUMULATIVE_KIND = 1, 3
DOUBLE, DISTRIBUTION = 3, 5
#: Of one series the API refuses more than a point in this time.
LEAST_S = 5.0
#: The most series that one call may have.
MOST_A_CALL = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """The project, and who writes: the labels of the monitored resource ``generic_task``.

    ``task`` differs for every process that writes, so no two write the same series. ``endpoint`` is a plain
    ``host:port`` in place of Google's.
    """

    project: str
    location: str
    namespace: str
    job: str
    task: str
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Interval:
    """Seconds since 1970: what is summed was summed from ``began`` to ``now``."""

    began: float
    now: float


def point(
    definition: MetricDefinition,
    labels: Sequence[str],
    typed_value: dict[str, Any],
    destination: Destination,
    interval: Interval,
) -> dict[str, Any]:
    """One series with one point, whose value is :func:`number` or :func:`distribution`."""
    times: dict[str, Any] = {"end_time": _timestamp(interval.now)}
    is_gauge = definition.kind is MetricKind.GAUGE
    if not is_gauge:
        # A sum needs a time that it begins at, before the one that it ends at.
        times["start_time"] = _timestamp(min(interval.began, interval.now - 0.001))
    resource = {
        "project_id": destination.project,
        "location": destination.location,
        "namespace": destination.namespace,
        "job": destination.job,
        "task_id": destination.task,
    }
    return {
        "metric": {"type": definition.cloud_type, "labels": dict(zip(definition.labels, labels, strict=True))},
        "resource": {"type": "generic_task", "labels": resource},
        "metric_kind": GAUGE_KIND if is_gauge else CUMULATIVE_KIND,
        "value_type": DISTRIBUTION if definition.kind is MetricKind.HISTOGRAM else DOUBLE,
        "unit": definition.unit,
        "points": [{"interval": times, "value": typed_value}],
    }


def number(value: float) -> dict[str, Any]:
    """The value of a gauge or counter."""
    return {"double_value": value}


def distribution(bounds: Sequence[float], counts: Sequence[int], total: float) -> dict[str, Any]:
    """The value of a histogram; ``counts`` has one more than ``bounds``."""
    count = sum(counts)
    return {
        "distribution_value": {
            "count": count,
            "mean": total / count if count else 0.0,
            "bucket_options": {"explicit_buckets": {"bounds": list(bounds)}},
            "bucket_counts": list(counts),
        }
    }


def _timestamp(seconds: float) -> dict[str, int]:
    whole, part = divmod(round(seconds * 1e6), 10**6)
    return {"seconds": whole, "nanos": part * 1000}
