"""The stand-ins of BigQuery and Kubernetes for the time of a benchmark, and Airflow's connections to them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from composer.local.bigquery.testing import running_bigquery
from composer.local.kubernetes.testing import running_kubernetes
from composer.local.places import REPOSITORY

FOLDER = REPOSITORY / "var" / "bench"
CONN_ID = "bench"
NAMESPACE = "f1-training"
START_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Stand:
    """What runs: a client of BigQuery, the Kubernetes stand-in's process, and the folder of this run's files."""

    bigquery: Any
    kubernetes_pid: int
    folder: Path


@contextlib.contextmanager
def standing(folder: Path) -> Iterator[Stand]:
    """Both stand-ins below ``folder``, which is emptied first; gone at the end, pods included."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        warehouse = stack.enter_context(running_bigquery(folder / "warehouse", deadline_s=START_S))
        os.environ["BIGQUERY_EMULATOR_HOST"] = warehouse.rest
        os.environ["BIGQUERY_STORAGE_EMULATOR_HOST"] = warehouse.storage
        google = {"conn_type": "google_cloud_platform", "extra": {"project": "local", "is_anonymous": True}}
        os.environ["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"] = json.dumps(google)
        cluster = stack.enter_context(running_kubernetes(folder / "cluster", deadline_s=START_S))
        extra = {"kube_config_path": cluster.kubeconfig, "namespace": NAMESPACE}
        os.environ[f"AIRFLOW_CONN_{CONN_ID.upper()}"] = json.dumps({"conn_type": "kubernetes", "extra": extra})

        from composer.local.laps import emulator_client

        yield Stand(bigquery=emulator_client(warehouse.rest), kubernetes_pid=cluster.pid, folder=folder)


def prepare_process() -> TextIO:
    """Airflow's home below ``var/bench``, temporary files too, and SIGTERM as an orderly end.

    Returns standard output, which is for figures only from here on: what Airflow and its loggers print goes to a file.
    """
    os.environ["AIRFLOW_HOME"] = str(FOLDER / "airflow")
    os.environ["TMPDIR"] = str(FOLDER / "tmp")
    (FOLDER / "tmp").mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, _terminated)
    (FOLDER / "log").mkdir(exist_ok=True)
    out, sys.stdout = sys.stdout, (FOLDER / "log" / "airflow.log").open("w", buffering=1)
    return out


@contextlib.contextmanager
def deadline(seconds: float, what: str) -> Iterator[None]:
    """Raise :class:`TimeoutError` in the main thread when the block is not over in time."""

    def late(*_: object) -> None:
        raise TimeoutError(f"{what} was not over within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _terminated(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)
