"""Which stack is up, where it answers, and what Airflow is started with on it."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass

import psutil

from composer.local import airflow_server, otlp
from composer.local.airflow_api import AirflowApi
from composer.local.places import Places
from composer.local.ports import HOST

PROJECT = "local"
NAMESPACE = "f1-training"
#: The model that a prediction server is started for.
SERVED = "tire_degradation"


class StackGoneError(Exception):
    """The stack that somebody works with is not up any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StackInfo:
    """Where a running stack answers. ``pid`` is the process that holds it up.

    ``prometheus`` is empty where monitoring is off, and so is ``otlp``, which Airflow sends its metrics to.
    """

    pid: int
    ports: airflow_server.AirflowPorts
    bigquery: str
    bigquery_storage: str
    kubernetes: str
    kubeconfig: str
    serving: str
    prometheus: str = ""
    otlp: str = ""

    @property
    def airflow(self) -> str:
        """Address of Airflow's UI and REST API."""
        return self.ports.address

    def api(self, places: Places) -> AirflowApi:
        """A client of its Airflow."""
        return AirflowApi(self.airflow, airflow_server.USER, airflow_server.password(places))


def running_stack(places: Places) -> StackInfo | None:
    """The stack that is up, or None. A file left behind by a killed process does not count."""
    try:
        body = json.loads(places.stack_file.read_text())
        info = StackInfo(**{**body, "ports": airflow_server.AirflowPorts(**body["ports"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    with contextlib.suppress(psutil.NoSuchProcess):
        if "composer.local" in " ".join(psutil.Process(info.pid).cmdline()):
            return info
    return None


def require_up(places: Places, info: StackInfo) -> None:
    """Return while the stack is up that ``info`` describes.

    Raises:
        StackGoneError: it was stopped, or another one is up in its place.
    """
    now = running_stack(places)
    if now is None or now.pid != info.pid:
        raise StackGoneError(f"the stack at {info.airflow} was stopped meanwhile: start it again with `make up`")


def environment(places: Places, info: StackInfo) -> dict[str, str]:
    """What Airflow's processes, and tools beside them, are started with."""
    storage = places.storage_uri
    settings = {
        "project": PROJECT,
        "location": "US",
        "uris": {
            "checkpoints": f"{storage}/checkpoints",
            "artifacts": f"{storage}/artifacts",
            "models": f"{storage}/models",
        },
        "namespace": NAMESPACE,
        "image": "f1-training/training-worker:local",
        "collective_host": HOST,
        "poll_interval_s": 0.5,
        # Here a service that was away is back at once, or somebody waits at a terminal.
        "retry": {"first_delay_s": 5.0},
        # The catalogue's CPU requests are a node's; here workers share the machine's cores.
        "threads": 1,
        "pod_environment": {"BIGQUERY_STORAGE_EMULATOR_HOST": info.bigquery_storage},
        "serving": {"urls": {SERVED: info.serving}},
        "metrics": {"exporters": ["prometheus"]},
        # Settings to try, and connections that they name.
        **json.loads(os.environ.get("F1_SETTINGS") or "{}"),
    }
    given = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW_CONN_")}
    variables = {
        **given,
        "BIGQUERY_EMULATOR_HOST": info.bigquery,
        "BIGQUERY_STORAGE_EMULATOR_HOST": info.bigquery_storage,
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(
            {"conn_type": "google_cloud_platform", "extra": {"project": PROJECT, "is_anonymous": True}}
        ),
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(
            {"conn_type": "kubernetes", "extra": {"kube_config_path": info.kubeconfig, "namespace": NAMESPACE}}
        ),
        "AIRFLOW_VAR_F1_TRAINING": json.dumps(settings),
        **(otlp.environment(info.otlp) if info.otlp else {}),
    }
    return airflow_server.environment(places, info.ports, variables)
