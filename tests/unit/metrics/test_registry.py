"""Recording: bounded, quick, and nothing that it raises."""

import itertools
import threading
from pathlib import Path

import pytest

from trainer.contract.metrics import METRICS, MOST_SERIES, Exporter, MetricKind, exporters
from trainer.metrics import Distribution, Registry
from trainer.metrics.exposition import exposition

JOB = {"job_id": "job-1", "model_type": "tire_degradation"}
#: The specification's metrics: name, kind, labels.
SPECIFIED = {
    ("training.job.duration_seconds", "gauge", ("model_type", "job_id")),
    ("training.job.status", "gauge", ("model_type", "status")),
    ("training.job.retry_count", "counter", ("model_type", "failure_reason")),
    ("training.worker.cpu_utilization", "gauge", ("job_id", "worker_index")),
    ("training.worker.memory_usage_bytes", "gauge", ("job_id", "worker_index")),
    ("training.worker.heartbeat", "gauge", ("job_id", "worker_index")),
    ("training.progress.iterations_completed", "counter", ("job_id", "model_type")),
    ("training.progress.records_processed", "counter", ("job_id", "worker_index")),
}


def test_the_specification_s_metrics_are_there_as_it_says() -> None:
    assert {(m.name, m.kind.value, m.labels) for m in METRICS.values()} >= SPECIFIED
    assert METRICS["training.jobs_queued"].cloud_type == "custom.googleapis.com/training/jobs_queued"


def test_names_differ_in_each_system() -> None:
    for name in ("prometheus_name", "cloud_type"):
        assert len({getattr(m, name) for m in METRICS.values()}) == len(METRICS)


def value_of(registry: Registry, name: str) -> float | Distribution:
    (sample,) = [s for s in registry.samples() if s.definition.name == name]
    return sample.value


def test_gauges_are_set_counters_grow_histograms_collect() -> None:
    registry = Registry()
    for value in (3.0, 2.0):
        registry.set("training.job.duration_seconds", value, **JOB)
        registry.add("training.progress.iterations_completed", value, **JOB)
        registry.observe("training.checkpoint.seconds", value, **JOB)
    assert value_of(registry, "training.job.duration_seconds") == 2.0
    assert value_of(registry, "training.progress.iterations_completed") == 5.0
    made = value_of(registry, "training.checkpoint.seconds")
    assert isinstance(made, Distribution)
    assert (made.count, made.total) == (2, 5.0)


@pytest.mark.parametrize(
    ("name", "kind", "value", "labels"),
    [
        ("training.unknown", "set", 1.0, JOB),
        ("training.job.duration_seconds", "add", 1.0, JOB),
        ("training.job.duration_seconds", "set", 1.0, {"job_id": "job-1"}),
        ("training.job.duration_seconds", "set", 1.0, {**JOB, "row": "7"}),
        ("training.job.duration_seconds", "set", float("nan"), JOB),
        ("training.job.duration_seconds", "set", float("inf"), JOB),
        ("training.job.duration_seconds", "set", None, JOB),
        ("training.progress.iterations_completed", "add", -1.0, JOB),
    ],
)
def test_what_is_wrong_is_counted_and_nothing_else(name: str, kind: str, value: float, labels: dict[str, str]) -> None:
    registry = Registry()
    getattr(registry, kind)(name, value, **labels)
    assert registry.samples() == []
    assert registry.refused == 1


def test_no_metric_gets_more_series_than_the_bound() -> None:
    registry = Registry()
    for number, definition in itertools.product(range(3 * MOST_SERIES), METRICS.values()):
        record = {"gauge": registry.set, "counter": registry.add, "histogram": registry.observe}[definition.kind.value]
        record(definition.name, 1.0, **dict.fromkeys(definition.labels, f"value {number}"))
    labelled = [m for m in METRICS.values() if m.labels]
    assert len(registry.samples()) == MOST_SERIES * len(labelled) + len(METRICS) - len(labelled)
    assert registry.refused == 2 * MOST_SERIES * len(labelled)


def test_labels_are_of_the_few_that_are_bounded() -> None:
    # job_id: a run; its series end with its pods. All others have as many values as there are models, workers, reasons.
    known = {"job_id", "model_type", "worker_index", "status", "reason", "failure_reason"}
    assert {label for m in METRICS.values() for label in m.labels} <= known


def test_threads_lose_nothing() -> None:
    registry = Registry()

    def count() -> None:
        for _ in range(2000):
            registry.add("training.progress.iterations_completed", 1, **JOB)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert value_of(registry, "training.progress.iterations_completed") == 8000


def test_a_gauge_that_cannot_be_looked_at_takes_nothing_else_along() -> None:
    registry = Registry()
    registry.set("training.job.duration_seconds", 1.0, **JOB)
    registry.before_export(lambda: Path("/no such file").read_text())
    assert len(registry.samples()) == 1
    assert registry.refused == 1


def test_the_page_is_prometheus_text_format() -> None:
    registry = Registry()
    registry.set("training.job.duration_seconds", 1.5, job_id='a "b"\\\n', model_type="m")
    registry.observe("training.checkpoint.seconds", 0.2, **JOB)
    registry.observe("training.checkpoint.seconds", 5000, **JOB)
    page = exposition(registry.samples())
    assert '\ntraining_job_duration_seconds{model_type="m",job_id="a \\"b\\"\\\\\\n"} 1.5\n' in page
    assert "# TYPE training_checkpoint_seconds histogram\n" in page
    labels = 'job_id="job-1",model_type="tire_degradation"'
    for line in ('_bucket{%s,le="0.1"} 0', '_bucket{%s,le="0.3"} 1', '_bucket{%s,le="+Inf"} 2', "_count{%s} 2"):
        assert f"training_checkpoint_seconds{line % labels}\n" in page


def test_prometheus_own_parser_reads_the_page() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    registry = Registry()
    for definition in METRICS.values():
        record = {"gauge": registry.set, "counter": registry.add, "histogram": registry.observe}[definition.kind.value]
        record(definition.name, 1.0, **dict.fromkeys(definition.labels, "x"))
    families = {f.name: f for f in text_string_to_metric_families(exposition(registry.samples()))}
    assert set(families) == {m.prometheus_name for m in METRICS.values()}
    for definition in METRICS.values():
        read = families[definition.prometheus_name]
        assert (read.type, read.documentation) == (definition.kind.value, definition.help)
        assert definition.kind is not MetricKind.HISTOGRAM or len(read.samples) == len(definition.bounds) + 3


def test_exporters_are_named_with_commas() -> None:
    assert exporters("") == ()
    assert exporters("cloud_monitoring, prometheus") == (Exporter.PROMETHEUS, Exporter.CLOUD_MONITORING)
    with pytest.raises(ValueError, match=r"'statsd'; expected prometheus or cloud_monitoring"):
        exporters("statsd")
