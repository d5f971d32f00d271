"""The operators on the stand-ins of BigQuery and Kubernetes, through the connections that Airflow would give them."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from composer.local.bigquery.testing import running_bigquery
from composer.local.kubernetes.testing import running_kubernetes
from composer.local.laps import SimulatedLaps, emulator_client, load_laps
from f1_training.core.plan import RunPlan, plan_runs
from f1_training.core.settings import Settings, read_settings
from f1_training.data.simulator import SeasonSet, simulate
from tests.fakes.run_plan import RUN
from trainer.contract import read_catalogue

REPOSITORY = Path(__file__).parents[3]
PODS = Path(__file__).parent / "pods"
NAMESPACE = "f1-training"


@pytest.fixture(scope="session")
def environment() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory, environment: pytest.MonkeyPatch) -> Iterator[Any]:
    """A BigQuery with a small simulated season set in it; its client."""
    with running_bigquery(tmp_path_factory.mktemp("warehouse")) as served:
        environment.setenv("BIGQUERY_EMULATOR_HOST", served.rest)
        environment.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", served.storage)
        google = {"conn_type": "google_cloud_platform", "extra": {"project": "local", "is_anonymous": True}}
        environment.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(google))
        bigquery = emulator_client(served.rest)
        load_laps(bigquery, FewLaps())
        yield bigquery


class FewLaps(SimulatedLaps):
    """Enough laps for the data checks, and for a model that finds how tyres age: a falling curve is not promoted."""

    def tables(self) -> Iterator[tuple[str, Any]]:
        yield "laps", simulate(SeasonSet(seasons=3, races_per_season=4, drivers=10))


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A running cluster: its connection's id, and clients to look into it."""

    conn_id: str
    core: Any
    batch: Any

    def names(self) -> set[str]:
        """Every Job, Service, Secret and pod in the namespace, as kind/name."""
        lists = {
            "job": self.batch.list_namespaced_job,
            "service": self.core.list_namespaced_service,
            "secret": self.core.list_namespaced_secret,
            "pod": self.core.list_namespaced_pod,
        }
        return {f"{kind}/{item.metadata.name}" for kind, ask in lists.items() for item in ask(NAMESPACE).items}


def _cluster(kubeconfig: str, conn_id: str, environment: pytest.MonkeyPatch) -> Cluster:
    connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": kubeconfig, "namespace": NAMESPACE}}
    environment.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    api = config.new_client_from_config(kubeconfig)
    return Cluster(conn_id=conn_id, core=client.CoreV1Api(api), batch=client.BatchV1Api(api))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, environment: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster whose pods only pretend to train."""
    override = ("--pod-env", f"PYTHONPATH={PODS}")
    with running_kubernetes(tmp_path_factory.mktemp("cluster"), *override) as served:
        yield _cluster(served.kubeconfig, "pretending", environment)


@pytest.fixture(scope="session")
def real_cluster(
    tmp_path_factory: pytest.TempPathFactory, environment: pytest.MonkeyPatch, warehouse: Any
) -> Iterator[Cluster]:
    """A cluster whose pods train."""
    with running_kubernetes(tmp_path_factory.mktemp("real-cluster")) as served:
        yield _cluster(served.kubeconfig, "training", environment)


def deployed(folder: Path, **changes: Any) -> Settings:
    """The settings of a deployment with everything below ``folder``."""
    body = {
        "project": "local",
        "image": "image:1",
        "uris": {name: f"file://{folder}/{name}" for name in ("checkpoints", "artifacts", "models")},
        "collective_host": "127.0.0.1",
        "threads": 1,
        "poll_interval_s": 0.1,
        "pod_environment": {
            "BIGQUERY_STORAGE_EMULATOR_HOST": os.environ.get("BIGQUERY_STORAGE_EMULATOR_HOST", "127.0.0.1:1")
        },
    }
    return read_settings({**body, **changes})


def plan_of(settings: Settings, run_id: str = RUN.run_id, **params: Any) -> RunPlan:
    """The plan of ``tire_degradation`` for run ``run_id``."""
    from dataclasses import replace

    asked = {"model_type": "tire_degradation", "num_workers": 2, **params}
    return plan_runs(asked, settings, replace(RUN, run_id=run_id), read_catalogue(), "0.1.0")[0]
