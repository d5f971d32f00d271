"""Google's own client against a gRPC server that stalls, refuses and dies."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.cloud.monitoring_v3 import MetricServiceClient

from tests.fakes.cloud_monitoring import CloudMonitoring
from trainer.contract.cloud_points import MOST_A_CALL, Destination
from trainer.contract.metrics import METRICS, MetricKind
from trainer.metrics import Registry
from trainer.metrics.cloud import INTERVAL_S, LONGEST_WAIT_S, CloudExporter, google_client

pytestmark = pytest.mark.timeout(60)
JOB = {"job_id": "job-1", "model_type": "m"}
ROUNDS = "training.progress.iterations_completed"


@pytest.fixture
def server() -> Iterator[CloudMonitoring]:
    started = CloudMonitoring()
    yield started
    started.kill()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def exporter(server: CloudMonitoring, clock: Clock | None = None, **changes: float) -> CloudExporter:
    heard: list[str] = []
    made = CloudExporter(
        registry=Registry(clock=clock or time.time),
        destination=Destination(
            project="p", location="global", namespace="n", job="job-1", task="chief-1", endpoint=server.endpoint
        ),
        say=heard.append,
        clock=clock or time.monotonic,
        **changes,
    )
    made.heard = heard  # type: ignore[attr-defined]
    return made


def heard(made: CloudExporter) -> list[str]:
    return made.heard  # type: ignore[attr-defined,no-any-return]


def test_a_point_says_what_was_recorded(server: CloudMonitoring, clock: Clock) -> None:
    made = exporter(server, clock)
    made.registry.set("training.job.duration_seconds", 1.5, **JOB)
    made.registry.add(ROUNDS, 7, **JOB)
    made.registry.observe("training.checkpoint.bytes", 2000, **JOB)
    clock.now += 60
    made.write()
    (call,) = server.calls
    assert call.name == "projects/p"
    by_type = {s.metric.type.removeprefix("custom.googleapis.com/"): s for s in call.time_series}
    gauge = by_type["training/job/duration_seconds"]
    assert dict(gauge.metric.labels) == JOB
    assert (gauge.resource.type, dict(gauge.resource.labels)["task_id"]) == ("generic_task", "chief-1")
    assert (gauge.metric_kind, gauge.unit, gauge.points[0].value.double_value) == (1, "s", 1.5)
    assert gauge.points[0].interval.end_time.timestamp() == 1060
    counter = by_type["training/progress/iterations_completed"]
    assert (counter.metric_kind, counter.points[0].value.double_value) == (3, 7)
    assert counter.points[0].interval.start_time.timestamp() == 1000
    histogram = by_type["training/checkpoint/bytes"].points[0].value.distribution_value
    bounds = METRICS["training.checkpoint.bytes"].bounds
    assert (histogram.count, histogram.mean, list(histogram.bucket_counts)) == (1, 2000, [0, 1, 0, 0, 0, 0, 0, 0])
    assert tuple(histogram.bucket_options.explicit_buckets.bounds) == bounds


def test_a_series_gets_no_second_point_too_soon(server: CloudMonitoring, clock: Clock) -> None:
    made = exporter(server, clock)
    made.registry.add(ROUNDS, 1, **JOB)
    for seconds in (0, 2, 2, 2):
        clock.now += seconds
        made.write()
    assert [v.double_value for v in server.values("progress.iterations_completed")] == [1, 1]


def test_more_series_than_a_call_may_have_go_in_several(server: CloudMonitoring, clock: Clock) -> None:
    made = exporter(server, clock)
    for definition in METRICS.values():
        for number in range(64):
            record = {MetricKind.GAUGE: made.registry.set, MetricKind.COUNTER: made.registry.add}
            labels = dict.fromkeys(definition.labels, number)
            record.get(definition.kind, made.registry.observe)(definition.name, 1.0, **labels)
    made.write()
    sizes = [len(call.time_series) for call in server.calls]
    assert max(sizes) == MOST_A_CALL
    assert sum(sizes) == len(made.registry.samples()) > MOST_A_CALL


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "PERMISSION_DENIED", "INTERNAL"])
def test_a_refusal_costs_the_points_of_its_time_and_is_said_once(
    server: CloudMonitoring, clock: Clock, code: str
) -> None:
    made = exporter(server, clock)
    for refused in (False, True, True, False):
        server.refuse = grpc.StatusCode[code] if refused else None
        made.registry.add(ROUNDS, 10, **JOB)
        clock.now += 10
        made.write()
    assert [v.double_value for v in server.values("progress.iterations_completed")] == [10, 40]
    first, last = heard(made)
    assert "training goes on" in first
    assert "again, after 2 failures" in last


def test_an_invalid_point_holds_up_no_other(server: CloudMonitoring, clock: Clock) -> None:
    made = exporter(server, clock)
    server.refuse = grpc.StatusCode.INVALID_ARGUMENT
    made.registry.add(ROUNDS, 1, **JOB)
    for _ in range(3):
        clock.now += 10
        made.write()
    assert (server.asked, made.wait_s()) == (3, INTERVAL_S)
    (said,) = heard(made)
    assert "did not take some metrics (InvalidArgument: 400 refused by the test)" in said


def test_the_wait_doubles_with_each_failure_and_begins_again(server: CloudMonitoring, clock: Clock) -> None:
    made = exporter(server, clock)
    made.registry.add(ROUNDS, 1, **JOB)
    server.refuse = grpc.StatusCode.RESOURCE_EXHAUSTED
    waits = []
    for _ in range(6):
        clock.now += 1000
        made.write()
        waits.append(made.wait_s())
    assert waits == [20, 40, 80, 160, LONGEST_WAIT_S, LONGEST_WAIT_S]
    server.refuse = None
    made.write()
    assert made.wait_s() == INTERVAL_S


def test_a_server_that_never_answers_holds_nobody_up(server: CloudMonitoring) -> None:
    made = exporter(server, interval_s=0.05, deadline_s=0.5)
    server.stall()
    made.start()
    made.registry.add(ROUNDS, 1, **JOB)
    server.wait_for(1)
    # The call hangs, and recording goes on as if there were none.
    began = time.perf_counter()
    for _ in range(10_000):
        made.registry.add(ROUNDS, 1, **JOB)
    assert time.perf_counter() - began < 2.0
    server.go_on()
    server.wait_for(3)
    made.close()
    assert server.values("progress.iterations_completed")[-1].double_value == 10_001


def test_a_server_that_is_killed_gets_the_sums_when_another_is_there(server: CloudMonitoring) -> None:
    made = exporter(server, interval_s=0.05, deadline_s=0.5)
    made.registry.add(ROUNDS, 5, **JOB)
    made.start()
    server.wait_for(1)
    server.kill()
    made.registry.add(ROUNDS, 5, **JOB)
    again = CloudMonitoring(server.port)
    try:
        again.wait_for(1)
        made.close()
        assert [v.double_value for v in again.values("progress.iterations_completed")][-1] == 10
    finally:
        again.kill()


def test_the_end_of_a_process_waits_for_a_silent_server_only_so_long(server: CloudMonitoring) -> None:
    made = exporter(server, interval_s=30.0, deadline_s=30.0)
    made.registry.add(ROUNDS, 1, **JOB)
    server.stall()
    made.start()
    began = time.monotonic()
    made.close(within_s=0.3)
    assert time.monotonic() - began < 3.0


def test_a_process_that_ends_at_once_has_said_what_it_was(server: CloudMonitoring) -> None:
    made = exporter(server)
    made.registry.set("training.job.status", 1, model_type="m", status="succeeded")
    made.start()
    made.close()
    assert [v.double_value for v in server.values("job.status")] == [1]


def test_no_credentials_are_no_failure_of_training(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    def refuse(_endpoint: str) -> None:
        raise OSError("no credentials")

    said: list[str] = []
    place = Destination(project="p", location="global", namespace="n", job="j", task="t")
    made = CloudExporter(registry=Registry(), destination=place, say=said.append, connect=refuse, clock=clock)
    made.registry.add(ROUNDS, 1, **JOB)
    made.write()
    assert said == ["metrics could not be written to Cloud Monitoring (OSError: no credentials); training goes on"]


def test_google_s_own_endpoint_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {
        "type": "service_account",
        "project_id": "p",
        "client_email": "trainer@p.iam.gserviceaccount.com",
        "token_uri": "http://127.0.0.1:1/token",
        "private_key": pem,
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    client = google_client("")
    assert isinstance(client, MetricServiceClient)
    assert client.transport.host == "monitoring.googleapis.com:443"
    client.transport.close()
