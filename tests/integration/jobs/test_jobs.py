"""Whole jobs of real processes: Dask over mutual TLS, real boosters, real signals."""

import json
import os
import re
import signal
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

import psutil
import pyarrow.parquet as pq
import pytest

from tests.fakes.cloud_monitoring import CloudMonitoring
from tests.integration.jobs.conftest import ROWS, SECRET
from tests.integration.jobs.pods import Launcher, free_port, gone
from trainer.contract import (
    Device,
    Engine,
    EvaluationResult,
    EvaluationSpec,
    FailureReason,
    GroupChange,
    Limits,
    Manifest,
    Outcome,
    TrainingResult,
    TrainingSpec,
    layout,
)

pytestmark = pytest.mark.timeout(400)
Make = Callable[..., TrainingSpec]

#: Both with sampling, which is what makes an exact resume difficult.
PARAMS: dict[Engine, dict[str, Any]] = {
    Engine.XGBOOST: {"max_depth": 6, "learning_rate": 0.1, "subsample": 0.8, "colsample_bytree": 0.7},
    Engine.LIGHTGBM: {"num_leaves": 31, "learning_rate": 0.1, "bagging_fraction": 0.8, "bagging_freq": 1},
}


def at(uri: str, name: str) -> Path:
    return Path(unquote(urlsplit(uri).path)) / name


def read_result(spec: TrainingSpec) -> tuple[bytes, TrainingResult]:
    result = TrainingResult.from_json(at(spec.output.artifacts, layout.RESULT).read_bytes())
    return at(spec.output.artifacts, layout.BOOSTER_FILES[spec.engine.value]).read_bytes(), result


def finish(launcher: Launcher, spec: TrainingSpec) -> tuple[bytes, TrainingResult]:
    job = launcher.job(spec)
    assert job.chief.wait() == 0, job.chief.tail()
    assert [worker.wait() for worker in job.workers] == [0] * len(job.workers)
    return read_result(spec)


@pytest.mark.chaos
@pytest.mark.parametrize("engine", Engine)
def test_a_job_whose_chief_was_killed_ends_with_the_same_bytes(
    launcher: Launcher, make_spec: Make, engine: Engine
) -> None:
    wanted = {"engine": engine, "params": PARAMS[engine], "early_stopping_rounds": 50}
    expected, whole = finish(launcher, make_spec("whole", **wanted))
    assert [event.change for event in whole.lineage] == [GroupChange.STARTED]
    assert whole.metrics["validation"] < 1.0

    spec = make_spec("cut", **wanted)
    job = launcher.job(spec)
    job.chief.wait_for("committed", round=20)
    family = [p for pod in job.pods for p in pod.family()]
    os.kill(job.chief.process.pid, signal.SIGKILL)
    # Workers look for the next chief; here there is none at their address.
    for worker in job.workers:
        worker.wait_for("disconnected", 40)
        worker.process.terminate()
        assert worker.wait(30) == os.EX_TEMPFAIL
    assert gone(family) == []
    committed = max(int(p.parent.name) for p in at(spec.output.checkpoints, "epochs").rglob("manifest.json"))

    model, result = finish(launcher, spec)
    assert model == expected
    assert result.sha256 == whole.sha256
    last = result.lineage[-1]
    assert (last.change, last.round, last.epoch) == (GroupChange.RESUMED, committed, 2)


@pytest.mark.parametrize("engine", [pytest.param(Engine.XGBOOST, marks=pytest.mark.chaos), Engine.LIGHTGBM])
def test_survivors_of_a_killed_worker_go_on_and_its_successor_joins_them(
    launcher: Launcher, make_spec: Make, engine: Engine, snapshot_file: Path
) -> None:
    limits = Limits(worker_start_s=60, heartbeat_s=20, regroup_grace_s=0)
    wanted = {"engine": engine, "params": PARAMS[engine], "num_workers": 3, "limits": limits, "rounds": 100_000}
    spec = make_spec("survives", **wanted)
    job = launcher.job(spec)
    job.chief.wait_for("committed", round=20)
    os.kill(job.workers[1].process.pid, signal.SIGKILL)
    began = time.monotonic()
    lost = job.chief.wait_for("lost")
    assert time.monotonic() - began < 15, "noticed by a time-out instead of by the connection"
    assert (lost["workers"], lost["reason"]) == ([1], "WorkersLost")
    group = job.chief.wait_for("group")
    assert [rank["worker"] for rank in group["ranks"]] == [0, 2]
    assert sum(rank["rows"] for rank in group["ranks"]) == ROWS["train"]
    assert group["round"] == lost["round"]
    assert job.chief.wait_for("training")["round"] > lost["round"]
    port = int(job.chief.environment["TRAINING_CHIEF_PORT"])
    health_port = free_port()
    launcher.worker(spec, 1, port, TRAINING_HEALTH_PORT=str(health_port))
    assert [rank["worker"] for rank in job.chief.wait_for("group")["ranks"]] == [0, 1, 2]
    committed = job.chief.wait_for("committed")
    require_metrics(scraped(job.chief.named("listening")["port"]), scraped(health_port), committed["round"])
    job.chief.process.terminate()
    assert job.chief.wait(30) == os.EX_TEMPFAIL
    outcome = job.chief.outcome()
    manifest = Manifest.from_json(Path(unquote(urlsplit(outcome.manifest_uri).path)).read_bytes())
    changes = [event.change for event in manifest.lineage]
    assert changes[:3] == [GroupChange.STARTED, GroupChange.REGROUPED, GroupChange.REJOINED]
    require_discreet(launcher, snapshot_file)


def scraped(port: int) -> dict[str, float]:
    """What ``/metrics`` says, by metric and labels."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def require_metrics(chief: dict[str, float], worker: dict[str, float], committed: int) -> None:
    """After one loss, and a commit of the group that the successor is in."""
    job = '{job_id="survives",model_type="made_up"}'
    assert chief[f"training_progress_iterations_completed{job}"] >= committed
    assert chief['training_job_status{model_type="made_up",status="running"}'] == 1
    assert chief[f"training_recovery_seconds_count{job}"] == 1
    assert 0 < chief[f"training_recovery_seconds_sum{job}"] < 120
    assert chief[f"training_checkpoint_bytes_sum{job}"] > 0
    records = [chief[f'training_progress_records_processed{{job_id="survives",worker_index="{i}"}}'] for i in range(3)]
    assert sum(records) >= committed * ROWS["train"]
    own = '{job_id="survives",worker_index="1"}'
    assert abs(time.time() - worker[f"training_worker_heartbeat{own}"]) < 30
    limit = worker[f"training_worker_memory_limit_bytes{own}"]
    assert 2**20 < worker[f"training_worker_memory_usage_bytes{own}"] < limit
    assert 0 <= worker[f"training_worker_cpu_utilization{own}"] <= 100


def require_discreet(launcher: Launcher, snapshot_file: Path) -> None:
    """No pod's log has a value of a row, or a secret."""
    columns = pq.read_table(snapshot_file).drop(["split", "shard", "row_key"]).to_pydict()
    values = {repr(value) for column in columns.values() for value in column if value is not None}
    files = [f for pod in launcher.started for f in (pod.log, pod.log.with_suffix(".stderr"))]
    text = "\n".join(f.read_text(errors="replace") for f in files)
    assert len(values) > sum(ROWS.values())
    assert len(text) > 1000
    # Numbers are looked up as words: with 17 digits none is there by chance.
    assert values & set(re.split(r"[^\w.+-]+", text)) == set()
    assert not [name for name in columns["group_id"] if name in text]
    key = (Path(launcher.environment["TRAINING_TLS_DIR"]) / "tls.key").read_text().splitlines()[1]
    assert not [secret for secret in (SECRET, key, "PRIVATE KEY") if secret in text]


def test_how_a_short_job_ended_is_in_cloud_monitoring(launcher: Launcher, make_spec: Make) -> None:
    spec = make_spec("short", num_workers=1, rounds=20, params=PARAMS[Engine.XGBOOST])
    server = CloudMonitoring()
    try:
        told = {"TRAINING_METRICS_ENDPOINT": server.endpoint, "GOOGLE_CLOUD_PROJECT": "p", "TRAINING_ATTEMPT": "2"}
        chief = launcher.chief(spec, TRAINING_METRICS="cloud_monitoring", **told)
        assert chief.wait() == 0, chief.tail()
    finally:
        server.kill()
    assert server.values("progress.iterations_completed")[-1].double_value == 20
    ended = {s.metric.labels["status"]: s.points[0].value.double_value for s in server.series("job.status")}
    assert ended == {"running": 0, "succeeded": 1, "failed": 0}
    assert server.values("worker.memory_usage_bytes")[-1].double_value > 0
    assert {s.resource.labels["task_id"] for s in server.series("job.status")} == {"chief-2"}
    assert chief.named("outcome")["attempt"] == 2


def test_one_of_two_is_too_few_and_the_job_leaves_nothing(launcher: Launcher, make_spec: Make) -> None:
    limits = Limits(worker_start_s=40, heartbeat_s=10, regroup_grace_s=1)
    spec = make_spec("lost", engine=Engine.LIGHTGBM, params=PARAMS[Engine.LIGHTGBM], rounds=100_000, limits=limits)
    job = launcher.job(spec)
    job.chief.wait_for("committed", round=20)
    family = [p for pod in job.pods for p in pod.family()]
    victim = job.workers[1].process.pid
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    lost = job.chief.wait_for("lost")
    assert time.monotonic() - began < 9, "noticed by a time-out instead of by the connection"
    assert (lost["workers"], lost["reason"]) == ([1], "WorkersLost")
    assert job.chief.wait(15) == os.EX_UNAVAILABLE
    outcome = job.chief.outcome()
    assert outcome.reason is FailureReason.WORKERS_LOST
    assert outcome.last_round >= 20
    assert outcome == Outcome.from_json(at(spec.output.checkpoints, layout.outcome(1)).read_bytes())
    manifest = Manifest.from_json(Path(unquote(urlsplit(outcome.manifest_uri).path)).read_bytes())
    assert manifest.round == outcome.last_round
    assert job.workers[0].wait(15) == os.EX_UNAVAILABLE
    assert gone(family) == []


def test_a_chief_without_workers_refuses_strangers_and_says_who_is_missing(launcher: Launcher, make_spec: Make) -> None:
    spec = make_spec("alone", limits=Limits(worker_start_s=4))
    port = free_port()
    chief = launcher.chief(spec, port)
    health = chief.wait_for("listening")["port"]
    chief.wait_for("waiting")
    with urlopen(f"http://127.0.0.1:{health}/health", timeout=5) as answer:
        assert json.load(answer)["state"] == "waiting for workers"
    assert _first_bytes(port) == b""
    assert "TLSV1_ALERT_PROTOCOL_VERSION" in _handshake(launcher, port, ssl.TLSVersion.TLSv1_2)
    assert _handshake(launcher, port, ssl.TLSVersion.TLSv1_3) == ""
    assert "CERTIFICATE_REQUIRED" in _handshake(launcher, port, ssl.TLSVersion.TLSv1_3, certificate=False)
    assert chief.wait(30) == os.EX_OSERR
    outcome = chief.outcome()
    assert outcome.reason is FailureReason.RESOURCE_EXHAUSTED
    assert "0 of 2 workers came within 4 s; missing: 0, 1" in outcome.message


def _first_bytes(port: int) -> bytes:
    """What the chief answers to a client that speaks Dask's protocol in the clear."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        s.sendall(b"\x00" * 64)
        try:
            answer = s.recv(64)
        except ConnectionResetError:
            return b""
        # A TLS alert record, if anything: never Dask's own handshake.
        return b"" if answer[:1] == b"\x15" else answer


def _handshake(launcher: Launcher, port: int, version: ssl.TLSVersion, *, certificate: bool = True) -> str:
    """The error that a client of TLS ``version`` gets, or an empty string."""
    folder = Path(launcher.environment["TRAINING_TLS_DIR"])
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    if certificate:
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s, context.wrap_socket(s) as tls:
            # With TLS 1.3 the server judges the client's certificate after the client is done.
            return "" if tls.recv(1) else "closed"
    except ssl.SSLError as e:
        return str(e)


def test_one_worker_trains_without_network_and_is_stopped_by_sigterm(launcher: Launcher, make_spec: Make) -> None:
    spec = make_spec("solo", num_workers=1, rounds=50_000)
    launcher.environment.pop("TRAINING_TLS_DIR")
    chief = launcher.chief(spec)
    health = chief.wait_for("listening")["port"]
    chief.wait_for("committed", round=20)
    family = chief.family()
    sockets = [c for p in family for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    assert [c.laddr.port for c in sockets] == [health]
    with urlopen(f"http://127.0.0.1:{health}/health", timeout=5) as answer:
        assert json.load(answer)["state"].startswith("training round ")
    chief.process.terminate()
    assert chief.wait(20) == os.EX_TEMPFAIL
    outcome = chief.outcome()
    assert outcome.reason is FailureReason.PREEMPTED
    assert outcome.last_round >= 20
    assert gone(family) == []


def test_a_finished_job_started_again_needs_no_worker_and_can_be_scored(launcher: Launcher, make_spec: Make) -> None:
    spec = make_spec("again", num_workers=1, rounds=20)
    first = finish(launcher, spec)
    at(spec.output.artifacts, layout.RESULT).unlink()
    chief = launcher.chief(spec)
    assert chief.wait() == 0, chief.tail()
    model, result = read_result(spec)
    _evaluate(launcher, spec, result)
    assert (model, result.sha256, result.lineage) == (first[0], first[1].sha256, first[1].lineage)
    assert "group" not in [line["event"] for line in chief.seen]


def _evaluate(launcher: Launcher, spec: TrainingSpec, result: TrainingResult) -> None:
    output = f"{spec.output.artifacts}/{layout.METRICS}"
    wanted = EvaluationSpec(
        job_id=spec.job_id,
        model_type=spec.model_type,
        engine=spec.engine,
        objective=spec.objective,
        model_uri=result.model_uri,
        model_sha256=result.sha256,
        features=spec.features,
        table=spec.snapshot.table,
        split="test",
        output=output,
    )
    pod = launcher.pod("evaluate", "trainer.evaluate", {"EVALUATION_SPEC": wanted.to_json()})
    assert pod.wait() == 0, pod.tail()
    assert pod.outcome().result_uri == output
    found = EvaluationResult.from_json(at(spec.output.artifacts, layout.METRICS).read_bytes())
    assert found.rows == ROWS["test"]
    assert found.metrics["test_mae"] < 0.5 * found.metrics["baseline_mae"]
    # The test rows are like the validation rows, on which the trainer itself measured the same model.
    assert found.metrics["rmse"] == pytest.approx(result.metrics["validation"], rel=0.15)


@pytest.mark.parametrize(("engine", "device"), [(Engine.XGBOOST, Device.CUDA), (Engine.LIGHTGBM, Device.GPU)])
def test_a_gpu_that_is_not_there_is_a_wrong_configuration(
    launcher: Launcher, make_spec: Make, engine: Engine, device: Device
) -> None:
    if Path("/dev/nvidia0").exists() or Path("/dev/dri").exists():
        pytest.skip("this machine has a GPU")
    chief = launcher.chief(make_spec("gpu", num_workers=1, engine=engine, device=device))
    assert chief.wait() == os.EX_CONFIG, chief.tail()
    assert device.value in chief.outcome().message


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"TRAINING_SPEC": "{}"}, "kind"),
        ({"TRAINING_SPEC": ""}, "--model-type"),
        ({"TOTAL_WORKERS": "9"}, "TOTAL_WORKERS"),
    ],
)
def test_a_wrong_spec_starts_nothing(
    launcher: Launcher, make_spec: Make, environment: dict[str, str], named: str
) -> None:
    spec = make_spec("wrong", num_workers=1)
    chief = launcher.chief(spec, 0, **environment)
    assert chief.wait() == os.EX_CONFIG, chief.tail()
    assert named in chief.outcome().message
    assert not at(spec.output.checkpoints, "").exists()
