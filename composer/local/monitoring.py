"""Prometheus beside the stack: it scrapes the pods and Airflow, evaluates the alerts and serves the dashboard.

Everything is optional: where Prometheus is not at hand, or does not come up, the stack runs without it and says so.
"""

from __future__ import annotations

import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from composer.local.otlp import Receiver
from composer.local.places import REPOSITORY, Places
from composer.local.ports import HOST
from composer.local.processes import Child, Supervisor
from composer.local.targets import pods, targets
from composer.monitoring.dashboard import write_page
from composer.monitoring.rules import ALERTS, prometheus_rules, read_alerts

#: Where ``.ci/prometheus`` puts what it takes out of Debian's package.
TOOLS = REPOSITORY / "var" / "tools"
#: Between two scrapes, and between two looks at the alerts. Short, as runs on one machine are; pods answer from memory.
INTERVAL_S = 5
KEPT = ("--storage.tsdb.retention.time=7d", "--storage.tsdb.retention.size=500MB")
#: What a pod may bring, as in composer/k8s/managed-prometheus.
SAMPLES = 5000
READY_S = 20.0
HOW = "off: Prometheus is neither on PATH nor in var/tools; `make up` fetches it where apt-get can (.ci/prometheus)"


def program(name: str = "prometheus") -> str | None:
    """Prometheus' program ``name``: the one on PATH, or the one in ``var/tools``."""
    return shutil.which(name) or shutil.which(name, path=str(TOOLS))


def configuration(receiver: str, rules: str, interval_s: int = INTERVAL_S) -> Mapping[str, Any]:
    """Prometheus' file. ``receiver`` (``http://host:port``) knows pods and Airflow's metrics; ``rules`` is a path."""
    interval = f"{interval_s}s"
    pods = {
        "job_name": "f1-training",
        "sample_limit": SAMPLES,
        "http_sd_configs": [{"url": f"{receiver}/targets", "refresh_interval": interval}],
    }
    airflow = {"job_name": "airflow", "static_configs": [{"targets": [receiver.removeprefix("http://")]}]}
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [rules],
        "scrape_configs": [pods, airflow],
    }


def command(prometheus: str, folder: Path, port: int) -> Sequence[str]:
    """The server's command line; everything it reads and writes is in ``folder``."""
    words = [
        prometheus,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        *KEPT,
        f"--web.listen-address={HOST}:{port}",
        f"--web.user-assets={folder / 'page'}",
        "--log.level=warn",
    ]
    assets = Path(prometheus).with_name("prometheus-web")
    # Debian's looks for templates of its own pages where its package would have put them.
    return [*words, f"--web.local-assets={assets}"] if assets.is_dir() else words


class Monitoring:
    """Prometheus and what stands between it and the stack, at ``ports``. Their files are below ``var/``."""

    def __init__(
        self, places: Places, prometheus: str, ports: Mapping[str, int], *, interval_s: int = INTERVAL_S
    ) -> None:
        self._folder = places.folder("prometheus")
        self._prometheus, self._ports, self._interval_s = prometheus, ports, interval_s
        self._child: Child | None = None

    @property
    def address(self) -> str:
        """Prometheus'."""
        return f"http://{HOST}:{self._ports['prometheus']}"

    @property
    def receiver(self) -> str:
        """Where Airflow sends its metrics."""
        return f"http://{HOST}:{self._ports['otlp']}"

    def start(self, supervisor: Supervisor, kubernetes: str, namespace: str, airflow: str) -> None:
        """Start both; returns at once. ``kubernetes`` is its API's address, ``airflow`` the one that the page links."""
        Receiver(self._ports["otlp"], lambda: targets(pods(kubernetes, namespace))).start()
        rules = self._folder / "alerts.yaml"
        alerts = read_alerts(ALERTS.read_text(encoding="utf-8"))
        rules.write_text(yaml.safe_dump(dict(prometheus_rules(alerts)), sort_keys=False))
        body = configuration(self.receiver, str(rules), self._interval_s)
        (self._folder / "prometheus.yaml").write_text(yaml.safe_dump(dict(body), sort_keys=False))
        write_page(self._folder / "page", {"Airflow": airflow, "Trigger a run": f"{airflow}/dags/f1_training"})
        self._child = supervisor.start(
            "prometheus",
            command(self._prometheus, self._folder, self._ports["prometheus"]),
            {"PATH": os.environ.get("PATH", os.defpath), "GOMAXPROCS": "1"},
            self._folder,
            vital=False,
        )

    def ready(self, deadline_s: float = READY_S) -> bool:
        """Whether Prometheus answers; False once it has ended, or did not come up in time."""
        end = time.monotonic() + deadline_s
        while self._child is not None and self._child.process.poll() is None and time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"http://{HOST}:{self._ports['prometheus']}/-/ready", timeout=2.0):
                    return True
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        return False
