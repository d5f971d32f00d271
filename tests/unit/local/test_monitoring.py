"""What Prometheus is told on this machine: the cluster's PodMonitoring, in its own words; and it is never needed."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from composer.local import monitoring, otlp, running, up
from composer.local.airflow_server import AirflowPorts
from composer.local.monitoring import command, configuration
from composer.local.places import REPOSITORY, Places
from composer.local.ports import free_ports
from composer.local.processes import Supervisor
from composer.local.targets import PODS, PORT_NAME, targets
from f1_training.kubernetes.podspec import HEALTH_PORT

RECEIVER = "http://127.0.0.1:4318"
PROMTOOL = monitoring.program("promtool")


def pod_monitoring() -> Any:
    folder = REPOSITORY / "composer" / "k8s" / "managed-prometheus"
    return yaml.safe_load((folder / "pod-monitoring.yaml").read_text())


def selector(spec: Mapping[str, Any]) -> str:
    equal = [f"{name}={value}" for name, value in spec["matchLabels"].items()]
    among = [f"{e['key']} {e['operator'].lower()} ({','.join(e['values'])})" for e in spec["matchExpressions"]]
    return ",".join(equal + among)


def test_the_pods_are_those_of_the_cluster_s_pod_monitoring() -> None:
    wanted = pod_monitoring()
    pods, _ = configuration(RECEIVER, "/p/alerts.yaml")["scrape_configs"]
    assert selector(wanted["spec"]["selector"]) == PODS
    assert wanted["metadata"]["namespace"] == running.NAMESPACE
    (endpoint,) = wanted["spec"]["endpoints"]
    assert endpoint["port"] == PORT_NAME
    assert pods.get("metrics_path", "/metrics") == endpoint["path"]
    assert pods["sample_limit"] == wanted["spec"]["limits"]["samples"]
    assert HEALTH_PORT == 8080, "what the NetworkPolicy beside it lets through"


def pod(name: str, **status: Any) -> dict[str, Any]:
    ports = [{"name": "health", "containerPort": 8080}, {"name": "scheduler", "containerPort": 8786}]
    containers = [{"name": "main", "ports": ports}, {"name": "beside"}]
    return {"metadata": {"name": name, "namespace": "n"}, "spec": {"containers": containers}, "status": status}


def test_a_target_is_the_health_port_of_a_pod_that_can_answer() -> None:
    listed = [
        pod("starts", phase="Pending"),
        pod("trains", phase="Running", podIP="127.64.0.2"),
        pod("ended", phase="Succeeded", podIP="127.64.0.3"),
        pod("failed", phase="Failed", podIP="127.64.0.4"),
    ]
    labels = {"namespace": "n", "pod": "trains", "container": "main"}
    assert targets(listed) == [{"targets": ["127.64.0.2:8080"], "labels": labels}]


def test_nothing_is_heard_elsewhere_and_all_is_kept_below_var(tmp_path: Path) -> None:
    words = command("/bin/prometheus", tmp_path, 9090)
    assert "--web.listen-address=127.0.0.1:9090" in words
    paths = [word.partition("=")[2] for word in words[1:] if "/" in word]
    assert all(path.startswith(str(tmp_path)) for path in paths)
    assert not any("admin" in word or "lifecycle" in word for word in words)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed; .ci/prometheus fetches it")
def test_prometheus_reads_its_file(tmp_path: Path) -> None:
    rules, config = tmp_path / "alerts.yaml", tmp_path / "prometheus.yaml"
    rules.write_text(json.dumps({"groups": []}))
    config.write_text(yaml.safe_dump(dict(configuration(RECEIVER, str(rules)))))
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, "check", "config", str(config)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def info(**more: str) -> running.StackInfo:
    addresses = dict.fromkeys(("bigquery", "bigquery_storage", "kubernetes", "kubeconfig", "serving"), "x")
    return running.StackInfo(pid=1, ports=AirflowPorts(api=1, worker_logs=2, trigger_logs=3), **addresses, **more)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "passwords.json").write_text(json.dumps({"admin": "secret"}))
    return Places(root=tmp_path)


def test_make_up_says_where_the_dashboard_is(places: Places) -> None:
    said = up.describe(info(prometheus="http://127.0.0.1:9"), places).splitlines()
    assert "dashboard   http://127.0.0.1:9/user/" in said
    assert "Prometheus  http://127.0.0.1:9" in said


@pytest.mark.parametrize(("found", "why"), [(None, "neither on PATH nor in var/tools"), ("/p", "log/prometheus.log")])
def test_or_why_there_is_none(places: Places, monkeypatch: pytest.MonkeyPatch, found: str | None, why: str) -> None:
    monkeypatch.setattr(monitoring, "program", lambda: found)
    (said,) = (line for line in up.describe(info(), places).splitlines() if line.startswith("dashboard"))
    assert said.startswith("dashboard   off: ")
    assert why in said


def test_airflow_tells_its_metrics_only_where_somebody_listens(places: Places) -> None:
    off = running.environment(places, info())
    on = running.environment(places, info(otlp="http://127.0.0.1:4318"))
    assert not any(name.startswith(("AIRFLOW__METRICS", "OTEL")) for name in off)
    assert on["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] == "http://127.0.0.1:4318/v1/metrics"
    assert {name: value for name, value in on.items() if name not in off} == otlp.environment("http://127.0.0.1:4318")


def test_a_prometheus_that_ends_stops_nothing(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "command", lambda *_: ["false"])
    prometheus, receiver = free_ports(2)
    watch = monitoring.Monitoring(places, "prometheus", {"prometheus": prometheus, "otlp": receiver})
    with Supervisor(places.logs) as supervisor:
        watch.start(supervisor, "http://127.0.0.1:1", "f1-training", "http://127.0.0.1:8080")
        assert watch.ready(deadline_s=20) is False
        supervisor.check()
