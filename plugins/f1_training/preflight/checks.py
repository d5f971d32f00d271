"""The checks that Airflow makes itself: permissions, quota, storage, BigQuery, connections, channels, and services.

Each uses the client that a run will use, and does what a run will do; what it makes, it removes or lets expire.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from f1_training.alerts.alert import Alert
from f1_training.alerts.delivery import OUTBOX, try_channel
from f1_training.bigquery import sql
from f1_training.bigquery.client import Destination, Written
from f1_training.bigquery.sql import Parameter, Query
from f1_training.core.plan import RunPlan
from f1_training.core.retry import Team
from f1_training.core.specs import PROBE_SPLIT
from f1_training.core.storage import open_store, storage_errors
from f1_training.kubernetes.manifests import Manifest
from f1_training.kubernetes.permissions import NEEDED, Permission
from f1_training.kubernetes.quota import shortfalls, wanted
from f1_training.preflight.report import Finding, Verdict, tried
from f1_training.preflight.services import Services, service_checks
from trainer.contract import FailureReason, TrainingFailure
from trainer.contract.probe import FOLDER, create_once

#: Rows of the table that probes read.
PROBE_ROWS = 3
PROBE_DAYS = 1
ROLE = "bind the Role of composer/k8s/base/rbac.yaml to the account of Airflow's Kubernetes connection"
QUOTA = "raise the quota of composer/k8s/base/quota.yaml, or end what holds it"
STORAGE = "create the bucket; Airflow's account needs storage.objects.create, get, list and delete there"
BIGQUERY = (
    "Airflow's account needs bigquery.jobUser on the project, dataViewer on the strategy dataset, dataEditor on the "
    "other two; the tables of the model's splits must exist"
)
DATA = (
    "Airflow's account needs dataEditor on the datasets of f1_data, list and get on the landing bucket, and "
    "bigquery.reservations.use on data.reservation of the Variable f1_training"
)
CHANNEL = "correct the Airflow connection that alerts.routes of the Variable f1_training names"
CONNECTION = "create the connection (Admin > Connections, or the secrets backend) that the Variable f1_training names"


class Cluster(Protocol):
    """What is asked of Kubernetes; :class:`f1_training.kubernetes.client.Cluster` is one."""

    def may(self, namespace: str, permission: Permission) -> bool:
        """Whether Airflow has a permission."""

    def quotas(self, namespace: str) -> Sequence[Any]:
        """The quotas, with what is in use."""


class Warehouse(Protocol):
    """What is asked of BigQuery; :class:`f1_training.bigquery.client.Warehouse` is one."""

    def ensure_dataset(self, name: str) -> None:
        """Make the dataset where it is missing."""

    def write(self, query: Query, destination: Destination, job_id: str) -> Written:
        """Replace the destination by the query's rows."""

    def rows(self, query: Query) -> list[dict[str, Any]]:
        """The rows of a small result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """How the services are reached. Connecting is part of what is checked, so it happens when a check asks.

    ``connection`` gives an Airflow connection by its id; ``manifests`` all objects of the attempt that would be made.
    ``data_warehouse`` is BigQuery as ``f1_data`` asks it; ``landed`` counts the files that it would read below a URI.
    ``services`` are those that a deployment may do without.
    """

    cluster: Callable[[], Cluster]
    warehouse: Callable[[], Warehouse]
    connection: Callable[[str], Any]
    manifests: Callable[[], Sequence[Manifest]]
    data_warehouse: Callable[[], Warehouse]
    landed: Callable[[str], int]
    services: Services


def checks(plan: RunPlan, deployment: Deployment) -> Iterator[Finding]:
    """Make every check, one after the other; none depends on another's success."""
    settings = plan.settings
    yield tried("settings", "", lambda: _settings(plan))
    for name in sorted({settings.gcp_conn_id, settings.kubernetes_conn_id}):
        yield tried(f"connection {name}", CONNECTION, lambda n=name: f"of type {deployment.connection(n).conn_type}")  # type: ignore[misc]
    yield tried("permissions", ROLE, lambda: _permissions(plan, deployment.cluster()))
    yield tried("quota", QUOTA, lambda: _quota(plan, deployment))
    uris = settings.uris
    for name, uri in (("checkpoints", uris.checkpoints), ("artifacts", uris.artifacts), ("models", uris.models)):
        yield tried(f"storage of {name}", STORAGE, lambda u=uri: _storage(u))  # type: ignore[misc]
    yield tried("BigQuery", BIGQUERY, lambda: _bigquery(plan, deployment.warehouse()))
    yield _data(plan, deployment)
    yield from service_checks(settings, deployment.services)
    yield from _channels(plan, deployment)


def _data(plan: RunPlan, deployment: Deployment) -> Finding:
    """Where laps land; skipped where nothing does, as other pipelines may fill the tables."""
    landing = plan.settings.data.landing
    if not landing:
        found = "data.landing is not set: f1_data runs only with a source that is given to it"
        return Finding(check="data pipeline", verdict=Verdict.SKIP, found=found)
    return tried("data pipeline", DATA, lambda: _landing(plan, deployment, landing))


def _landing(plan: RunPlan, deployment: Deployment, landing: str) -> str:
    datasets, reservation = plan.settings.datasets, plan.settings.data.reservation
    files = deployment.landed(landing)
    warehouse = deployment.data_warehouse()
    for dataset in (datasets.raw, datasets.candidates, datasets.strategy):
        warehouse.ensure_dataset(dataset)
    warehouse.rows(_probe_rows(1))
    found = f"{files:,} {'file' if files == 1 else 'files'} of laps and results in {landing}"
    return f"{found}; a query ran in {reservation or 'no reservation of its own'}"


def _channels(plan: RunPlan, deployment: Deployment) -> Iterator[Finding]:
    routes = plan.settings.alerts.routes
    if not any(routes.values()):
        found = f"none is configured: alerts are kept below {plan.settings.uris.artifacts}/{OUTBOX}"
        yield Finding(check="alert channels", verdict=Verdict.SKIP, found=found)
    test = Alert(
        team=Team.NOBODY,
        reason=FailureReason.BUG,
        title="f1_preflight: a test, there is nothing to do",
        text=f"Alerts of {plan.settings.project} reach this channel.",
        key=f"preflight/{plan.job_id}",
        dag_id=plan.dag_id,
        run_id=plan.run_id,
        task_id="checks",
    )
    for team, channels in sorted(routes.items()):
        for channel in channels:
            name = f"alerts to {team}, {channel.kind.value}"
            yield tried(name, CHANNEL, lambda c=channel: try_channel(c, deployment.connection, test))  # type: ignore[misc]


def _settings(plan: RunPlan) -> str:
    how = "pinned by its digest" if "@sha256:" in plan.settings.image else "by a tag, which may be moved"
    return f"project {plan.settings.project}, namespace {plan.settings.namespace}, image {how}"


def _permissions(plan: RunPlan, cluster: Cluster) -> str:
    namespace = plan.settings.namespace
    missing = [str(permission) for permission in NEEDED if not cluster.may(namespace, permission)]
    if missing:
        message = f"in namespace {namespace} Airflow may not {', '.join(missing)}"
        raise TrainingFailure(FailureReason.PERMISSION_DENIED, message)
    return f"all {len(NEEDED)} in namespace {namespace}"


def _quota(plan: RunPlan, deployment: Deployment) -> str:
    namespace = plan.settings.namespace
    quotas = deployment.cluster().quotas(namespace)
    if missing := shortfalls(quotas, wanted(deployment.manifests()), free=True):
        raise TrainingFailure(FailureReason.RESOURCE_EXHAUSTED, f"namespace {namespace}, {'; '.join(missing)}")
    beside = f"beside what is in use, in {len(quotas)} quotas" if quotas else f"namespace {namespace} has no quota"
    return f"room for a chief and {plan.num_workers} workers of {plan.model_type}, {beside}"


def _storage(uri: str) -> str:
    store = open_store(uri)
    with storage_errors(uri):
        name = create_once(store)
        listed = name in store.list(FOLDER)
        store.delete(name)
    if not listed:
        raise TrainingFailure(FailureReason.CONFIG_INVALID, f"{uri}: an object that was written is not listed")
    return f"{uri}: created once, listed, removed"


def _bigquery(plan: RunPlan, warehouse: Warehouse) -> str:
    settings = plan.settings
    for dataset in (settings.datasets.staging, settings.datasets.evaluation):
        warehouse.ensure_dataset(dataset)
    found = []
    for split in dict.fromkeys((plan.train_split, plan.validation_split, plan.test_split)):
        source = f"{settings.project}.{settings.datasets.strategy}.{split}"
        text = sql.render(sql.load("preflight/count.sql"), {"table": sql.table(source)})
        (row,) = warehouse.rows(Query(sql=text))
        found.append(f"{row['row_count']:,} rows in {split}")
    destination = Destination(
        table=plan.training_table,
        logical_shards=plan.entry.logical_shards,
        clustered_by=("split",),
        days=PROBE_DAYS,
        labels={"f1-training-job": plan.job_id},
    )
    warehouse.write(_probe_rows(PROBE_ROWS), destination, f"{plan.table_name}_{uuid.uuid4().hex[:8]}")
    return f"{', '.join(found)}; a table was written to {settings.datasets.staging}"


def _probe_rows(count: int) -> Query:
    parameters: dict[str, Parameter] = {"probe_split": ("STRING", PROBE_SPLIT), "last_shard": ("INT64", count - 1)}
    return Query(sql=sql.load("preflight/rows.sql"), parameters=parameters)


def clean(plan: RunPlan) -> None:
    """Remove the objects that probes made and may not remove.

    Raises:
        TrainingFailure: what the storage refused.
    """
    for uri in (plan.checkpoints_uri, plan.artifacts_uri):
        store = open_store(uri)
        with storage_errors(uri):
            for name in store.list(FOLDER):
                store.delete(name)
