"""Airflow's metrics on their way to Prometheus: added up from what each process says, and nothing else taken."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA,
    Metric,
)

from composer.local.otlp import Receiver, RefusedError, take
from trainer.metrics.exposition import exposition
from trainer.metrics.registry import Registry

RETRY = {"model_type": "m", "failure_reason": "ChiefLost"}


def request(*metrics: Metric) -> ExportMetricsServiceRequest:
    made = ExportMetricsServiceRequest()
    made.resource_metrics.add().scope_metrics.add().metrics.extend(metrics)
    return made


def metric(
    name: str,
    value: float,
    labels: Mapping[str, str] = {},
    temporality: int = AGGREGATION_TEMPORALITY_DELTA,
    kind: str = "sum",
) -> Metric:
    made = Metric(name=name)
    if kind == "sum":
        made.sum.aggregation_temporality = temporality
    point = getattr(made, kind).data_points.add()
    if isinstance(value, int):
        point.as_int = value
    else:
        point.as_double = value
    for key, text in labels.items():
        point.attributes.add(key=key).value.string_value = text
    return made


def taken(*requests: ExportMetricsServiceRequest) -> list[str]:
    registry = Registry()
    for one in requests:
        take(one, registry)
    return [line for line in exposition(registry.samples()).splitlines() if not line.startswith("#")]


def test_processes_that_know_nothing_of_each_other_are_added_up() -> None:
    one = request(metric("airflow.training.job.retry_count", 1, RETRY))
    assert taken(one, one) == ['training_job_retry_count{model_type="m",failure_reason="ChiefLost"} 2']


def test_the_newest_of_a_gauge_holds() -> None:
    found = taken(*(request(metric("airflow.training.cost.budget", v, kind="gauge")) for v in (0.0, 520.5)))
    assert found == ["training_cost_budget 520.5"]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("airflow.ti.start", {}),
        ("airflow.training.job.status", {"model_type": "m", "status": "running"}),
        ("airflow.training.job.retry_count", {"model_type": "m"}),
        ("airflow.training.job.retry_count", {**RETRY, "job_id": "j"}),
    ],
)
def test_what_the_contract_does_not_have_as_airflow_s_is_left_out(name: str, labels: Mapping[str, str]) -> None:
    assert taken(request(metric(name, 1, labels))) == []


def test_sums_since_a_process_began_are_refused() -> None:
    sent = request(metric("airflow.training.job.retry_count", 1, RETRY, AGGREGATION_TEMPORALITY_CUMULATIVE))
    with pytest.raises(RefusedError, match=r"airflow\.training\.job\.retry_count is cumulative"):
        take(sent, Registry())


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    answers = iter([[{"targets": ["127.64.0.2:8080"], "labels": {}}]])

    def targets() -> Any:
        try:
            return next(answers)
        except StopIteration:
            raise ConnectionRefusedError("Kubernetes is not up") from None

    with Receiver(0, targets) as made:
        made.start()
        yield made
        made.shutdown()


def post(receiver: Receiver, path: str, body: bytes) -> int:
    sent = urllib.request.Request(receiver.address + path, body, method="POST")
    try:
        with urllib.request.urlopen(sent, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as e:
        with e:
            return int(e.code)


def test_it_speaks_http(receiver: Receiver) -> None:
    good = request(metric("airflow.training.jobs_queued", 3, kind="gauge")).SerializeToString()
    assert post(receiver, "/v1/metrics", good) == 200
    assert post(receiver, "/v1/traces", good) == 404
    assert post(receiver, "/v1/metrics", b"\xff\xff") == 400
    with urllib.request.urlopen(receiver.address + "/metrics", timeout=10) as answer:
        assert "training_jobs_queued 3" in answer.read().decode()
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_prometheus_is_told_of_the_pods_or_that_nobody_knows(receiver: Receiver) -> None:
    with urllib.request.urlopen(receiver.address + "/targets", timeout=10) as answer:
        assert json.load(answer) == [{"targets": ["127.64.0.2:8080"], "labels": {}}]
        assert answer.headers["Content-Type"] == "application/json"
    with pytest.raises(urllib.error.HTTPError, match="503") as refused:
        urllib.request.urlopen(receiver.address + "/targets", timeout=10)
    with refused.value as e:
        assert e.read() == b"Kubernetes is not up\n"
