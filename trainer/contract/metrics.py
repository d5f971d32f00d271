"""Every metric of training: one table of names, kinds, units and labels. What is not in it cannot be recorded.

A metric's name here is the specification's, with dots. Cloud Monitoring calls it ``custom.googleapis.com/`` and the
name with slashes; Prometheus takes the name with underscores, and adds no suffix. PromQL of Cloud Monitoring reads the
first as ``custom_googleapis_com:`` and the second, so a query for one is a query for the other with another prefix.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from trainer.contract.fields import require

CLOUD_PREFIX = "custom.googleapis.com/"
#: What the metric names of a PromQL query begin with where Cloud Monitoring answers it.
CLOUD_PROMQL_PREFIX = "custom_googleapis_com:"
#: Of one metric a process keeps so many series; more are not recorded, and counted.
MOST_SERIES = 64


class MetricKind(enum.StrEnum):
    """How a metric's values add up."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Source(enum.StrEnum):
    """Who records a metric."""

    CHIEF = "chief"
    WORKER = "worker"
    AIRFLOW = "Airflow"


class Exporter(enum.StrEnum):
    """Where a pod's metrics go."""

    PROMETHEUS = "prometheus"
    CLOUD_MONITORING = "cloud_monitoring"


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricDefinition:
    """One metric. ``unit`` is UCUM's, as Cloud Monitoring wants it; ``bounds`` are a histogram's upper bounds."""

    name: str
    kind: MetricKind
    unit: str
    help: str
    source: Source
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require(self.name.startswith("training."), "name", f"is {self.name!r}; training. and more")
        require(bool(self.bounds) == (self.kind is MetricKind.HISTOGRAM), "bounds", "are for histograms")

    @property
    def prometheus_name(self) -> str:
        """The name in Prometheus' text format."""
        return self.name.replace(".", "_")

    @property
    def cloud_type(self) -> str:
        """The metric type in Cloud Monitoring."""
        return CLOUD_PREFIX + self.name.replace(".", "/")


JOB = ("job_id", "model_type")
WORKER = ("job_id", "worker_index")
SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
BYTES = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
GAUGE, COUNTER, HISTOGRAM = MetricKind.GAUGE, MetricKind.COUNTER, MetricKind.HISTOGRAM

_TABLE = (
    MetricDefinition(
        name="training.job.duration_seconds",
        kind=GAUGE,
        unit="s",
        labels=("model_type", "job_id"),
        source=Source.CHIEF,
        help="how long this attempt's chief has been at the job",
    ),
    MetricDefinition(
        name="training.job.status",
        kind=GAUGE,
        unit="1",
        labels=("model_type", "status"),
        source=Source.CHIEF,
        help="1 for the status that the job has (running, succeeded, failed), 0 for the others",
    ),
    MetricDefinition(
        name="training.job.retry_count",
        kind=COUNTER,
        unit="1",
        labels=("model_type", "failure_reason"),
        source=Source.AIRFLOW,
        help="attempts that failed and are followed by another",
    ),
    MetricDefinition(
        name="training.job.finished",
        kind=COUNTER,
        unit="1",
        labels=("model_type", "status", "reason"),
        source=Source.AIRFLOW,
        help="jobs that are over, by status (succeeded, failed) and failure reason (none where it succeeded)",
    ),
    MetricDefinition(
        name="training.job.cost",
        kind=GAUGE,
        unit="{USD}",
        labels=("model_type", "job_id"),
        source=Source.AIRFLOW,
        help="what a run has cost",
    ),
    MetricDefinition(
        name="training.cost.month_to_date",
        kind=GAUGE,
        unit="{USD}",
        source=Source.AIRFLOW,
        help="what training has cost since the month began",
    ),
    MetricDefinition(
        name="training.cost.budget",
        kind=GAUGE,
        unit="{USD}",
        source=Source.AIRFLOW,
        help="what training may cost in a month",
    ),
    MetricDefinition(
        name="training.jobs_queued",
        kind=GAUGE,
        unit="1",
        source=Source.AIRFLOW,
        help="jobs that are submitted and of which no pod runs yet",
    ),
    MetricDefinition(
        name="training.chief.restarts",
        kind=GAUGE,
        unit="1",
        labels=JOB,
        source=Source.CHIEF,
        help="chiefs that this run had before the present one",
    ),
    MetricDefinition(
        name="training.worker.cpu_utilization",
        kind=GAUGE,
        unit="%",
        labels=WORKER,
        source=Source.WORKER,
        help="CPU of the worker's processes in percent (0-100) of the CPUs that it may use",
    ),
    MetricDefinition(
        name="training.worker.memory_usage_bytes",
        kind=GAUGE,
        unit="By",
        labels=WORKER,
        source=Source.WORKER,
        help="memory of the worker that cannot be given back",
    ),
    MetricDefinition(
        name="training.worker.memory_limit_bytes",
        kind=GAUGE,
        unit="By",
        labels=WORKER,
        source=Source.WORKER,
        help="memory that the worker may use; the machine's where it has no limit",
    ),
    MetricDefinition(
        name="training.worker.heartbeat",
        kind=GAUGE,
        unit="s",
        labels=WORKER,
        source=Source.WORKER,
        help="when the worker last looked at itself, in seconds since 1970",
    ),
    MetricDefinition(
        name="training.progress.iterations_completed",
        kind=COUNTER,
        unit="1",
        labels=JOB,
        source=Source.CHIEF,
        help="boosting rounds that this attempt trained, those that were lost and trained again included",
    ),
    MetricDefinition(
        name="training.progress.records_processed",
        kind=COUNTER,
        unit="1",
        labels=WORKER,
        source=Source.CHIEF,
        help="rows times rounds that a worker trained on in whole segments",
    ),
    MetricDefinition(
        name="training.recovery.seconds",
        kind=HISTOGRAM,
        unit="s",
        labels=JOB,
        source=Source.CHIEF,
        bounds=SECONDS,
        help="from the loss of a group to the first round of the next one",
    ),
    MetricDefinition(
        name="training.checkpoint.seconds",
        kind=HISTOGRAM,
        unit="s",
        labels=JOB,
        source=Source.CHIEF,
        bounds=SECONDS,
        help="how long a commit took, beside the training",
    ),
    MetricDefinition(
        name="training.checkpoint.bytes",
        kind=HISTOGRAM,
        unit="By",
        labels=JOB,
        source=Source.CHIEF,
        bounds=BYTES,
        help="bytes of trees that a commit wrote",
    ),
)
#: Every metric by its name.
METRICS: Mapping[str, MetricDefinition] = {definition.name: definition for definition in _TABLE}


def exporters(text: str) -> tuple[Exporter, ...]:
    """The exporters that ``text`` names: one, several with commas between, or none where it is empty.

    Raises:
        ContractError: a name is none of them.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = tuple(Exporter)
    for name in names:
        require(name in known, "exporter", f"is {name!r}; expected {' or '.join(known)}, or both with a comma between")
    return tuple(exporter for exporter in known if exporter in names)
