"""What chief, worker and evaluation share: environment, health, storage errors, memory, endings."""

import asyncio
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer import ending, memory, storage, tls
from trainer.contract import ContractError, FailureReason, Outcome, TrainingFailure
from trainer.environment import read_environment
from trainer.health import HealthServer
from trainer.logs import EventLog, JsonLines
from trainer.worker.settings import read_settings

WORKER = {"WORKER_INDEX": "2", "TOTAL_WORKERS": "3", "TRAINING_CHIEF_ADDRESS": "chief.example:8786"}


def test_without_variables_a_pod_listens_on_loopback_only() -> None:
    pod = read_environment({})
    assert (pod.pod_ip, pod.collective_host, pod.health_port, pod.chief_port) == ("127.0.0.1", "127.0.0.1", 8080, 8786)
    assert (pod.tls_dir, pod.memory_limit_bytes) == (None, 0)


def test_the_collective_host_is_the_pods_address_unless_given() -> None:
    assert read_environment({"POD_IP": "10.0.0.7"}).collective_host == "10.0.0.7"
    assert read_environment({"POD_IP": "10.0.0.7", "COLLECTIVE_HOST": "10.9.9.9"}).collective_host == "10.9.9.9"


@pytest.mark.parametrize(
    ("text", "size"), [("1048576", 2**20), ("3Gi", 3 * 2**30), ("500M", 5 * 10**8), ("0.5Ki", 512)]
)
def test_memory_is_a_kubernetes_quantity(text: str, size: int) -> None:
    assert read_environment({"TRAINING_MEMORY_LIMIT": text}).memory_limit_bytes == size


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRAINING_HEALTH_PORT", "http"),
        ("TRAINING_CHIEF_PORT", "-1"),
        ("TRAINING_MEMORY_LIMIT", "lots"),
        ("TRAINING_METRICS", "statsd"),
        ("TRAINING_ATTEMPT", "0"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(TrainingFailure, match=name) as caught:
        read_environment({name: value})
    assert caught.value.reason is FailureReason.CONFIG_INVALID


def test_a_workers_name_is_its_padded_index() -> None:
    settings = read_settings(WORKER)
    assert (settings.name, settings.chief_host, settings.chief_port) == ("02", "chief.example", 8786)
    indexed = {**WORKER, "WORKER_INDEX": "", "JOB_COMPLETION_INDEX": "1"}
    assert read_settings(indexed).name == "01"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"WORKER_INDEX": ""}, "WORKER_INDEX"),
        ({"WORKER_INDEX": "x"}, "WORKER_INDEX"),
        ({"WORKER_INDEX": "3"}, "WORKER_INDEX"),
        ({"TOTAL_WORKERS": ""}, "TOTAL_WORKERS"),
        ({"TRAINING_CHIEF_ADDRESS": "chief"}, "TRAINING_CHIEF_ADDRESS"),
        ({"TRAINING_CHIEF_ADDRESS": ""}, "TRAINING_CHIEF_ADDRESS"),
    ],
)
def test_a_worker_names_the_variable_that_is_wrong(change: dict[str, str], named: str) -> None:
    with pytest.raises(TrainingFailure, match=named):
        read_settings({**WORKER, **change})


async def get(port: int, request: str) -> tuple[str, dict[str, object]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    answer = (await asyncio.wait_for(reader.read(), 5)).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return head.splitlines()[0], json.loads(body)


async def test_health_says_what_the_pod_is_doing() -> None:
    async with HealthServer(host="127.0.0.1", port=0, state=lambda: {"state": "training round 7"}) as server:
        status, body = await get(server.port, "GET /health?probe=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (status, body) == ("HTTP/1.1 200 OK", {"state": "training round 7"})
        assert (await get(server.port, "GET /metrics HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 404 Not Found"
        assert (await get(server.port, "POST /health HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 405 Method Not Allowed"


async def test_metrics_are_served_where_there_are_any() -> None:
    async with HealthServer(host="127.0.0.1", port=0, state=dict, metrics=lambda: "rounds 7\n") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        answer = (await asyncio.wait_for(reader.read(), 5)).decode()
        writer.close()
        assert "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in answer
        assert answer.endswith("\r\n\r\nrounds 7\n")
        assert (await get(server.port, "POST /metrics HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 405 Method Not Allowed"


def test_where_metrics_go_is_read_and_checked() -> None:
    told = {"TRAINING_METRICS": "prometheus,cloud_monitoring", "GOOGLE_CLOUD_PROJECT": "p", "TRAINING_ATTEMPT": "2"}
    pod = read_environment(told)
    assert (pod.metrics.exporters, pod.metrics.project, pod.attempt) == (("prometheus", "cloud_monitoring"), "p", 2)
    assert read_environment({}).metrics.exporters == ()
    with pytest.raises(TrainingFailure, match="GOOGLE_CLOUD_PROJECT is not set"):
        read_environment({"TRAINING_METRICS": "cloud_monitoring"})


async def test_a_taken_health_port_is_named() -> None:
    async with HealthServer(host="127.0.0.1", port=0, state=dict) as first:
        with pytest.raises(TrainingFailure, match=f"127.0.0.1:{first.port}.*TRAINING_HEALTH_PORT"):
            await HealthServer(host="127.0.0.1", port=first.port, state=dict).__aenter__()


class HttpError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"HTTP {code}")
        self.code = code


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "full"), FailureReason.STORAGE_FULL),
        (PermissionError("no"), FailureReason.PERMISSION_DENIED),
        (HttpError(403), FailureReason.PERMISSION_DENIED),
        (HttpError(401), FailureReason.PERMISSION_DENIED),
        (HttpError(429), FailureReason.NETWORK_TIMEOUT),
        (HttpError(503), FailureReason.NETWORK_TIMEOUT),
        (ConnectionResetError(), FailureReason.NETWORK_TIMEOUT),
        (TimeoutError(), FailureReason.NETWORK_TIMEOUT),
        (HttpError(400), None),
        (ValueError(), None),
    ],
)
def test_storage_errors_have_reasons(error: Exception, reason: FailureReason | None) -> None:
    assert storage.reason_of(error) is reason


def test_a_storage_error_names_the_uri_and_the_fix() -> None:
    with (
        pytest.raises(TrainingFailure, match=r"gs://bucket/x: .*; free space there"),
        storage.storage_errors("gs://bucket/x"),
    ):
        raise OSError(errno.ENOSPC, "full")


def test_a_uri_that_nothing_serves_is_refused() -> None:
    with pytest.raises(TrainingFailure, match="carrier-pigeon://x") as caught:
        storage.open_store("carrier-pigeon://x")
    assert caught.value.reason is FailureReason.CONFIG_INVALID


def test_missing_certificates_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailure, match="TRAINING_TLS_DIR is not set"):
        tls.security(None)
    (tmp_path / "ca.crt").touch()
    with pytest.raises(TrainingFailure, match=r"lacks tls.crt, tls.key"):
        tls.security(tmp_path)


@pytest.mark.timeout(30)
def test_the_memory_guard_ends_a_process_that_uses_too_much_and_says_so() -> None:
    process = subprocess.Popen([sys.executable, "-c", "x = bytearray(80 << 20); import time; time.sleep(60)"])
    try:
        guard = memory.MemoryGuard(process.pid, 60 << 20, process.kill)
        assert process.wait(20) == -signal.SIGKILL
        assert "TRAINING_MEMORY_LIMIT 60 MiB" in guard.evidence()
    finally:
        process.kill()
        process.wait()


def test_a_kill_without_evidence_is_not_called_out_of_memory() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    guard = memory.MemoryGuard(process.pid, 1 << 40, process.kill)
    process.kill()
    process.wait()
    time.sleep(2 * memory.POLL_S)
    assert guard.evidence() == ""
    guard.stop()


def test_the_kernels_count_of_oom_kills_is_read(tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\n")
    assert memory.oom_kills((tmp_path / "absent", events)) == 2
    assert memory.oom_kills((tmp_path / "absent",)) is None


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(stream: io.StringIO) -> EventLog:
    return EventLog(job_id="job", sink=JsonLines(stream))


def test_a_failure_keeps_its_reason_and_a_surprise_is_a_bug_with_traceback(log: EventLog, stream: io.StringIO) -> None:
    failure = TrainingFailure(FailureReason.STORAGE_FULL, "gs://b: full")
    assert ending.failure_outcome("job", failure, log).reason is FailureReason.STORAGE_FULL
    assert ending.failure_outcome("job", ContractError("rounds", "is 0"), log).reason is FailureReason.CONFIG_INVALID
    assert stream.getvalue() == ""
    surprise = ending.failure_outcome("job", KeyError("x"), log)
    assert (surprise.reason, surprise.exit_code) == (FailureReason.BUG, os.EX_SOFTWARE)
    assert "KeyError" in stream.getvalue()


def test_the_outcome_is_in_the_termination_log_and_the_exit_code(tmp_path: Path, log: EventLog) -> None:
    outcome = Outcome(job_id="job", reason=FailureReason.PREEMPTED, message="told to stop", last_round=100)
    assert ending.conclude(outcome, log, tmp_path / "log") == os.EX_TEMPFAIL
    assert Outcome.from_json((tmp_path / "log").read_text()) == outcome


def test_a_termination_log_that_cannot_be_written_changes_nothing(
    tmp_path: Path, log: EventLog, stream: io.StringIO
) -> None:
    assert ending.conclude(Outcome(job_id="job"), log, tmp_path / "absent" / "log") == 0
    assert "could not be written" in stream.getvalue()
