"""Checks from Airflow's side: each fails by itself, names what is wrong, and leaves nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from f1_training.bigquery.client import Destination, Written
from f1_training.bigquery.sql import Query
from f1_training.core.plan import RunPlan
from f1_training.core.storage import open_store
from f1_training.kubernetes.permissions import NEEDED, Permission
from f1_training.operators.preflight import _landed, _manifests
from f1_training.preflight import checks as module
from f1_training.preflight.checks import PROBE_ROWS, Deployment, checks, clean
from f1_training.preflight.report import Finding, Verdict
from f1_training.preflight.services import Services as Optional
from tests.fakes.receiver import http_receiver
from tests.fakes.run_plan import make_plan, settings
from trainer.contract import FailureReason, TrainingFailure
from trainer.contract.probe import FOLDER


@dataclass
class Services:
    """Everything that is asked, as it should be unless told otherwise."""

    denied: Sequence[str] = ()
    quota: dict[str, str] = field(default_factory=lambda: {"pods": "30"})
    used: dict[str, str] = field(default_factory=dict)
    missing_tables: Sequence[str] = ()
    connections: Sequence[str] = ("google_cloud_default", "kubernetes_default")
    host: str = ""
    written: list[tuple[Query, Destination]] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)

    def may(self, namespace: str, permission: Permission) -> bool:
        assert namespace == "f1-training"
        return str(permission) not in self.denied

    def quotas(self, namespace: str) -> list[dict[str, Any]]:
        return [{"metadata": {"name": "training"}, "spec": {"hard": self.quota}, "status": {"used": self.used}}]

    def ensure_dataset(self, name: str) -> None:
        self.datasets.append(name)

    def write(self, query: Query, destination: Destination, job_id: str) -> Written:
        self.written.append((query, destination))
        return Written(bytes_scanned=0, created_at=datetime.now(UTC).isoformat())

    def rows(self, query: Query) -> list[dict[str, Any]]:
        gone = [table for table in self.missing_tables if f".{table}`" in query.sql]
        if gone:
            raise TrainingFailure(FailureReason.CONFIG_INVALID, f"Not found: Table {gone[0]}")
        return [{"row_count": 30_723}]

    def connection(self, name: str) -> Any:
        if name not in self.connections:
            raise LookupError(f"The conn_id `{name}` isn't defined")
        return Connection(conn_id=name, conn_type="google_cloud_platform", host=self.host, password="T0/secret")


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    return make_plan(settings(f"file://{tmp_path}"), dry_run=True)


def found(plan: RunPlan, services: Services) -> dict[str, Finding]:
    deployment = Deployment(
        cluster=lambda: services,
        warehouse=lambda: services,
        connection=services.connection,
        manifests=lambda: _manifests(plan),
        data_warehouse=lambda: services,
        landed=_landed,
        services=Optional(vertex=str, bill=str),
    )
    return {finding.check: finding for finding in checks(plan, deployment)}


def failures(plan: RunPlan, services: Services) -> dict[str, str]:
    return {name: f.found for name, f in found(plan, services).items() if f.verdict is Verdict.FAIL}


def test_what_is_as_it_should_be_passes(plan: RunPlan, tmp_path: Path) -> None:
    services = Services()
    findings = found(plan, services)
    assert failures(plan, services) == {}
    assert findings["permissions"].found == f"all {len(NEEDED)} in namespace f1-training"
    assert findings["quota"].found.startswith("room for a chief and 2 workers of tire_degradation")
    assert findings["settings"].found.endswith("image pinned by its digest")
    assert findings["alert channels"].verdict is Verdict.SKIP
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [], "what was tried is removed"


def test_bigquery_is_left_with_rows_for_the_probes_to_read(plan: RunPlan) -> None:
    services = Services()
    found(plan, services)
    ((query, destination),) = services.written
    assert destination.table == plan.training_table
    assert destination.days == 1
    assert query.parameters["last_shard"] == ("INT64", PROBE_ROWS - 1)
    assert services.datasets == ["f1_staging", "f1_evaluation"]


def test_the_data_pipeline_is_tried_where_laps_land(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    reservation = "projects/p/locations/EU/reservations/data"
    data = {"landing": f"file://{landing}", "reservation": reservation}
    plan = make_plan(settings(f"file://{tmp_path}", data=data))
    wrong = found(plan, Services())["data pipeline"]
    assert wrong.verdict is Verdict.FAIL
    assert "holds no file of a table" in wrong.found
    assert "bigquery.reservations.use" in wrong.fix

    (landing / "laps-2026-R01.csv").write_text("season\n")
    services = Services()
    right = found(plan, services)["data pipeline"]
    assert (right.verdict, right.found) == (
        Verdict.PASS,
        f"1 file of laps and results in file://{landing}; a query ran in {reservation}",
    )
    assert services.datasets[-3:] == ["f1_raw", "f1_candidates", "f1_strategy"]


def test_without_a_landing_the_data_pipeline_is_left_alone(plan: RunPlan) -> None:
    skipped = found(plan, Services())["data pipeline"]
    assert (skipped.verdict, skipped.found.partition(":")[0]) == (Verdict.SKIP, "data.landing is not set")


def test_missing_permissions_are_listed_together(plan: RunPlan) -> None:
    services = Services(denied=("create secrets", "get pods/log"))
    assert failures(plan, services) == {
        "permissions": "PermissionDenied: in namespace f1-training Airflow may not create secrets, get pods/log"
    }


def test_a_quota_that_is_used_up_is_told_with_its_numbers(plan: RunPlan) -> None:
    services = Services(quota={"pods": "30"}, used={"pods": "28"})
    assert failures(plan, services) == {
        "quota": "ResourceExhausted: namespace f1-training, quota 'training': pods 3 is asked for, 30 is allowed and "
        "28 is in use"
    }


def test_a_missing_table_and_a_missing_connection_are_named(plan: RunPlan) -> None:
    services = Services(missing_tables=("validation",), connections=("google_cloud_default",))
    assert failures(plan, services) == {
        "connection kubernetes_default": "LookupError: The conn_id `kubernetes_default` isn't defined",
        "BigQuery": "ConfigInvalid: Not found: Table validation",
    }
    assert "Admin > Connections" in found(plan, services)["connection kubernetes_default"].fix


def test_storage_that_refuses_fails_only_what_goes_there(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where a folder should be")
    wrong = failures(make_plan(settings(f"file://{tmp_path}")), Services())
    assert list(wrong) == ["storage of models"]


class Overwriting:
    """A store that does not keep its word."""

    uri = "gs://bucket"

    def create(self, name: str, data: bytes) -> bool:
        return True


def test_storage_where_objects_can_be_replaced_is_none(plan: RunPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "open_store", lambda _uri: Overwriting())
    wrong = failures(plan, Services())
    assert list(wrong) == ["storage of checkpoints", "storage of artifacts", "storage of models"]
    assert "an object was replaced although it may only be created" in wrong["storage of models"]


def test_what_probes_left_is_removed_and_nothing_else(plan: RunPlan) -> None:
    for uri in (plan.checkpoints_uri, plan.artifacts_uri):
        store = open_store(uri)
        store.create(f"{FOLDER}/tried", b"first")
        store.create("kept", b"kept")
    clean(plan)
    assert [open_store(uri).list() for uri in (plan.checkpoints_uri, plan.artifacts_uri)] == [["kept"], ["kept"]]


ROUTES = {"data": [{"kind": "slack", "conn_id": "slack_data"}], "on-call": [{"kind": "pagerduty", "conn_id": "pager"}]}


def test_channels_are_tried_and_nobody_is_woken_up(tmp_path: Path) -> None:
    plan = make_plan(settings(f"file://{tmp_path}", alerts={"routes": ROUTES}), dry_run=True)
    with http_receiver() as receiver:
        services = Services(connections=(*Services.connections, "slack_data", "pager"), host=receiver.url)
        findings = found(plan, services)
    assert findings["alerts to data, slack"].found == "a test message was sent"
    assert findings["alerts to on-call, pagerduty"].verdict is Verdict.PASS
    assert "alert channels" not in findings
    (_, message), (_, page) = receiver.posts
    assert "nothing to do" in message["text"]
    assert page["event_action"] == "resolve"


def test_a_channel_that_does_not_work_is_a_failure_without_its_secret(tmp_path: Path) -> None:
    plan = make_plan(settings(f"file://{tmp_path}", alerts={"routes": ROUTES}), dry_run=True)
    with http_receiver() as receiver:
        host = receiver.url
    wrong = failures(plan, Services(connections=(*Services.connections, "slack_data"), host=host))
    assert set(wrong) == {"alerts to data, slack", "alerts to on-call, pagerduty"}
    assert "T0/secret" not in str(wrong)
    assert "isn't defined" in wrong["alerts to on-call, pagerduty"]
