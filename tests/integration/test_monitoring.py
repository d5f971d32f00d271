"""A real Prometheus beside the stand-in cluster and Airflow's own exporter: scrapes, alerts, and the page in a browser.

The pods say what the test wants them to; that the product's pods say the same is tests/integration/test_up.py.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from composer.local import monitoring, otlp
from composer.local.kubernetes.testing import running_kubernetes
from composer.local.places import Places
from composer.local.ports import free_ports
from composer.local.processes import Supervisor
from tests.integration import browser
from tests.integration.prometheus import Prometheus, needed
from tests.waiting import eventually
from trainer.metrics.exposition import exposition
from trainer.metrics.registry import Registry

PROMETHEUS = monitoring.program()
NAMESPACE, JOB, MODEL = "f1-training", "tire-degradation-3f2a91c4", "tire_degradation"
pytestmark = [needed, pytest.mark.slow]
#: A pod that answers /metrics with a file.
POD = """
import http.server, os, pathlib
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = pathlib.Path(os.environ["PAGE"]).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer((os.environ["POD_IP"], 8080), Handler).serve_forever()
"""


@dataclass(frozen=True)
class Monitored(Prometheus):
    """Prometheus, and what it watches."""

    receiver: str
    kubeconfig: str
    pages: Path

    def pod(self, name: str, component: str, page: str) -> None:
        """A pod whose metrics are ``page``, and then what is in its file."""
        file = self.pages / name
        file.write_text(page)
        env = [{"name": "PAGE", "value": str(file)}]
        env.append({"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})
        container = {"name": component, "image": "any", "command": ["python", "-c", POD], "env": env}
        ports = [{"name": "health", "containerPort": 8080}, {"name": "scheduler", "containerPort": 8786}]
        labels = {"app.kubernetes.io/name": "f1-training", "app.kubernetes.io/component": component}
        body = {
            "metadata": {"name": name, "labels": labels},
            "spec": {"restartPolicy": "Never", "containers": [{**container, "ports": ports}]},
        }
        self.core.create_namespaced_pod(NAMESPACE, body)

    @property
    def core(self) -> client.CoreV1Api:
        return client.CoreV1Api(config.new_client_from_config(self.kubeconfig))


def chief(restarts: int = 0, rounds: int = 0) -> str:
    registry, of_job = Registry(), {"job_id": JOB, "model_type": MODEL}
    for status in ("running", "succeeded", "failed"):
        registry.set("training.job.status", status == "running", model_type=MODEL, status=status)
    registry.set("training.job.duration_seconds", 61, **of_job)
    registry.set("training.chief.restarts", restarts, **of_job)
    registry.add("training.progress.iterations_completed", rounds, **of_job)
    for worker in range(2):
        registry.add("training.progress.records_processed", rounds * 1000, job_id=JOB, worker_index=worker)
    registry.observe("training.recovery.seconds", 0.8, **of_job)
    for _ in range(rounds // 20):
        registry.observe("training.checkpoint.seconds", 0.05, **of_job)
        registry.observe("training.checkpoint.bytes", 9000, **of_job)
    return exposition(registry.samples())


def worker(index: int, used: float = 6e8) -> str:
    registry, labels = Registry(), {"job_id": JOB, "worker_index": index}
    registry.set("training.worker.memory_usage_bytes", used, **labels)
    registry.set("training.worker.memory_limit_bytes", 1e9, **labels)
    registry.set("training.worker.cpu_utilization", 71 + index, **labels)
    registry.set("training.worker.heartbeat", time.time(), **labels)
    return exposition(registry.samples())


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    """A cluster with a chief and two workers, watched every second."""
    root = tmp_path_factory.mktemp("monitored")
    places = Places(root=root)
    prometheus, receiver = free_ports(2)
    ports = {"prometheus": prometheus, "otlp": receiver}
    assert PROMETHEUS is not None
    watch = monitoring.Monitoring(places, PROMETHEUS, ports, interval_s=1)
    with running_kubernetes(places.folder("kubernetes")) as cluster, Supervisor(places.logs) as supervisor:
        watch.start(supervisor, cluster.server, NAMESPACE, "http://127.0.0.1:8080")
        assert watch.ready(), (places.logs / "prometheus.log").read_text()
        found = Monitored(watch.address, watch.receiver, cluster.kubeconfig, places.folder("pages"))
        found.pod("chief", "chief", chief())
        for index in range(2):
            found.pod(f"worker-{index}", "worker", worker(index))
        yield found
    assert not Path(f"/proc/{cluster.pid}").exists()


@pytest.fixture
def airflow(monitored: Monitored, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Mapping[str, str]], None]:
    """Counts as a task's process does: with Airflow's exporter and its environment, sent when the process ends."""
    for name, value in otlp.environment(monitored.receiver).items():
        monkeypatch.setenv(name, value)

    def count(name: str, labels: Mapping[str, str]) -> None:
        provider = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(), 60_000)], shutdown_on_exit=False)
        provider.get_meter("airflow").create_counter(f"airflow.{name}").add(1, dict(labels))
        provider.get_meter("airflow").create_counter("airflow.ti.start").add(1)
        provider.shutdown()

    return count


def test_pods_are_found_by_kubernetes_own_api(monitored: Monitored) -> None:
    def scraped() -> bool:
        return len(monitored.series("training_worker_heartbeat")) == 2 and bool(monitored.series("training_job_status"))

    eventually(scraped, "all pods are scraped")
    (one,) = monitored.series('training_worker_heartbeat{worker_index="1"}')
    wanted = {"namespace": NAMESPACE, "pod": "worker-1", "container": "worker", "job": "f1-training", "job_id": JOB}
    assert wanted.items() <= one.items()
    assert one["instance"].endswith(":8080"), "only the health port is asked"

    def health() -> dict[str, str]:
        return {t["labels"]["job"]: t["health"] for t in monitored.ask("targets")["activeTargets"]}

    eventually(lambda: health() == {"f1-training": "up", "airflow": "up"}, "both are scraped")
    assert len(monitored.ask("targets")["activeTargets"]) == 4


def test_a_pod_that_ended_is_forgotten_at_once(monitored: Monitored) -> None:
    monitored.pod("worker-9", "worker", worker(9))
    query = 'training_worker_heartbeat{worker_index="9"}'
    eventually(lambda: monitored.series(query), "the pod is scraped")
    monitored.core.delete_namespaced_pod("worker-9", NAMESPACE, grace_period_seconds=0)
    eventually(lambda: not monitored.series(query), "its series are stale")


def test_what_tasks_count_is_added_up_and_checks_that_failed_fire(monitored: Monitored, airflow: Any) -> None:
    assert monitored.rule("data-validation-failure")["state"] == "inactive"
    labels = {"model_type": MODEL, "status": "failed", "reason": "DataInvalid"}
    for _ in range(2):
        airflow("training.job.finished", labels)
    rule = monitored.rule
    eventually(lambda: rule("data-validation-failure")["state"] == "firing", "it fires")
    (alert,) = rule("data-validation-failure")["alerts"]
    assert (alert["labels"]["model_type"], float(alert["value"])) == (MODEL, 2)
    assert len(monitored.series("training_job_finished")) >= 1
    assert monitored.series("ti_start") == [], "Airflow's own are left out"
    # It fires in five minutes.
    assert rule("training-job-failure-rate")["state"] == "pending"


def test_a_worker_near_its_limit_is_pending_until_a_minute_is_over(monitored: Monitored) -> None:
    (monitored.pages / "worker-1").write_text(worker(1, used=9.7e8))
    eventually(lambda: monitored.rule("worker-oom")["state"] == "pending", "it is pending")
    (alert,) = monitored.rule("worker-oom")["alerts"]
    assert (alert["labels"]["job_id"], alert["labels"]["worker_index"]) == (JOB, "1")
    assert monitored.rule("worker-oom")["duration"] == 60


@pytest.mark.browser
@pytest.mark.skipif(bool(browser.MISSING), reason=browser.MISSING)
def test_the_page_draws_every_chart_and_lists_what_fires(monitored: Monitored, airflow: Any, tmp_path: Path) -> None:
    for restarts, rounds in ((0, 100), (1, 160), (2, 220)):
        (monitored.pages / "chief").write_text(chief(restarts, rounds))
        query = f"training_progress_iterations_completed == {rounds}"
        eventually(lambda: monitored.series(query), f"{rounds} rounds are scraped")  # noqa: B023 - called at once
    airflow("training.job.retry_count", {"model_type": MODEL, "failure_reason": "ChiefLost"})
    airflow("training.job.finished", {"model_type": MODEL, "status": "succeeded", "reason": "none"})
    eventually(lambda: monitored.series("training_job_retry_count"), "the retry is scraped")
    eventually(lambda: monitored.series('training_job_finished{status="succeeded"}'), "the end is scraped")
    eventually(lambda: monitored.rule("chief-restarts")["state"] == "firing", "a third chief fires")
    with browser.dashboard_page(f"{monitored.address}/user/", tmp_path / "profile") as page:
        page.shows("chief-restarts", "firing")
        silent = {"Jobs that wait, when one was submitted", "Month to date, and its budget", "What runs have cost"}
        eventually(lambda: {t for t, series in page.charts().items() if not series} == silent, "the others are drawn")
        assert page.charts()["CPU"] >= 2
        assert page.text("#state").startswith(f"{len(page.firing())} alert")
        link = page.link("chief-restarts")
        assert link == f"{monitored.address}/user/runbook.html#chief-restarts"
        assert page.problems() == [], "errors in the console"
        assert page.addresses() == {monitored.address}, "nobody else is asked"
        page.narrow(390)
        assert page.overflow() == 0, "nothing is wider than a phone"
        page.go(link)
        assert "A run is on its third chief" in page.text("main")
