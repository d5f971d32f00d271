"""Airflow's metrics through StatsD: the exporter's mapping names each, and what Airflow's client sends is what it reads."""

import contextlib
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from composer.local.places import REPOSITORY
from composer.local.ports import HOST, free_ports
from trainer.contract.metrics import METRICS, Source

MAPPING = REPOSITORY / "composer" / "monitoring" / "statsd_mapping.yaml"
EXPORTER = shutil.which("statsd_exporter") or shutil.which("prometheus-statsd-exporter")
AIRFLOW = {m.name: m for m in METRICS.values() if m.source is Source.AIRFLOW}


def test_every_metric_of_airflow_s_is_mapped_to_its_name_in_queries() -> None:
    made = {entry["match"]: entry["name"] for entry in yaml.safe_load(MAPPING.read_text())["mappings"]}
    assert made == {f"airflow.{name}": metric.prometheus_name for name, metric in AIRFLOW.items()}


def line(name: str, value: float, kind: str) -> bytes:
    """What Airflow's StatsD client sends with ``statsd_influxdb_enabled``."""
    tags = "".join(f",{label}={label}-1" for label in AIRFLOW[name].labels)
    return f"airflow.{name}{tags}:{value}|{kind}".encode()


@pytest.mark.skipif(EXPORTER is None, reason="statsd_exporter is not on PATH; Debian does not have it")
def test_the_exporter_reads_it(tmp_path: Path) -> None:
    web, udp = free_ports(2)
    words = [
        f"--statsd.mapping-config={MAPPING}",
        f"--web.listen-address={HOST}:{web}",
        f"--statsd.listen-udp={HOST}:{udp}",
    ]
    assert EXPORTER is not None
    process = subprocess.Popen([EXPORTER, *words, "--statsd.listen-tcp="], stderr=subprocess.DEVNULL)
    try:
        wanted, end, page = set(), time.monotonic() + 20, ""
        for metric in AIRFLOW.values():
            labels = ",".join(f'{label}="{label}-1"' for label in sorted(metric.labels))
            wanted.add(f"{metric.prometheus_name}{{{labels}}} 7" if labels else f"{metric.prometheus_name} 7")
        sent = False
        while not wanted <= set(page.splitlines()):
            assert time.monotonic() < end, page
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://{HOST}:{web}/metrics", timeout=5) as answer,
            ):
                page = answer.read().decode()
                if not sent:
                    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                        for name, metric in AIRFLOW.items():
                            s.sendto(line(name, 7, "c" if metric.kind == "counter" else "g"), (HOST, udp))
                    sent = True
    finally:
        process.terminate()
        process.wait(10)
