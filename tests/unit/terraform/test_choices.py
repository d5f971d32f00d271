"""What a deployment may choose: other values of the variables, and what they change."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from composer.policy.access import Thing, access_of
from composer.policy.expressions import ExpressionError
from composer.policy.firewall import End, Packet, firewall_of
from composer.policy.page import EXAMPLE, REPOSITORY, TERRAFORM
from composer.policy.plan import Resource, root_module
from f1_training.core.settings import read_settings
from tests.fakes.infrastructure import PROJECT, account

#: Rows of the errata that say something of the infrastructure.
ROWS = {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 15, 16, 18, 20, 21, 22, 24, 25, 26}


def made(**changed: Any) -> list[Resource]:
    return list(root_module(TERRAFORM, EXAMPLE, **changed).resources())


def test_a_landing_bucket_is_read_by_airflow_and_by_nobody_else() -> None:
    access, laps = access_of(made(landing_bucket="laps")), Thing("bucket", "laps")
    granted = {g.member: access.roles[g.role] for g in access.grants if g.thing == laps}
    assert granted == {account("airflow"): {"storage.objects.get", "storage.objects.list"}}
    assert not access.may(account("trainer"), "storage.objects.get", laps)


EXPORT = "billing-project.billing.gcp_billing_export_resource_v1_01A2B3_C4D5E6_F7A8B9"
RESERVATION = "projects/slots/locations/EU/reservations/data"


def test_the_bill_is_read_by_airflow_and_by_nobody_else_and_is_in_the_variable() -> None:
    root = root_module(TERRAFORM, EXAMPLE, billing_table=EXPORT, billing_location="EU")
    access, bill = access_of(root.resources()), Thing("another dataset", "billing-project.billing")
    assert {g.member for g in access.grants if g.thing == bill} == {account("airflow")}
    assert access.may(account("airflow"), "bigquery.tables.getData", bill)
    assert not access.may(account("airflow"), "bigquery.tables.updateData", bill)
    costs = read_settings(json.loads(root.output("airflow_variable"))).costs
    assert (costs.billing_table, costs.location) == (EXPORT, "EU")


def test_a_reservation_is_used_by_airflow_and_not_changed() -> None:
    root = root_module(TERRAFORM, EXAMPLE, reservation=RESERVATION)
    access, slots = access_of(root.resources()), Thing("another project", "slots")
    (grant,) = [g for g in access.grants if g.thing == slots]
    assert (grant.member, grant.role) == (account("airflow"), "projects/slots/roles/f1TrainingReservation")
    assert access.roles[grant.role] == {"bigquery.reservations.use"}
    assert not access.may(account("airflow"), "bigquery.reservations.use", Thing("project", PROJECT))
    assert read_settings(json.loads(root.output("airflow_variable"))).data.reservation == RESERVATION


def test_pods_write_to_cloud_monitoring_where_that_is_asked_for() -> None:
    root = root_module(TERRAFORM, EXAMPLE, metrics_exporters=["cloud_monitoring"])
    access, project = access_of(root.resources()), Thing("project", PROJECT)
    for name in ("trainer", "evaluator", "airflow"):
        assert access.may(account(name), "monitoring.timeSeries.create", project), name
    assert not access.may(account("serving"), "monitoring.timeSeries.create", project)
    exporters = read_settings(json.loads(root.output("airflow_variable"))).metrics.exporters
    assert [e.value for e in exporters] == ["cloud_monitoring"]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"billing_table": "billing.gcp_billing_export_v1"}, "billing_table is a table in full"),
        ({"reservation": "data"}, "reservation is a reservation in full"),
        ({"metrics_exporters": ["statsd"]}, "names prometheus and cloud_monitoring only"),
        ({"alert_emails": {str(i): f"{i}@example.com" for i in range(6)}}, "five channels at most"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ExpressionError, match=problem):
        made(**changed)


def test_row_25_nodes_alone_reach_the_registries_that_are_named() -> None:
    found = made(image_hosts=["images.example"])
    node = End(address="10.10.0.9", tags=frozenset({"f1-training-node"}), account=account("nodes"))
    packet = Packet(source=node, destination=End(address="203.0.113.7", host="images.example"), port=443)
    assert firewall_of(found).lets_out(packet)
    assert not firewall_of(found).lets_out(replace(packet, source=End(address="10.10.16.9")))
    (nat,) = [r for r in found if r.type == "google_compute_router_nat"]
    assert [s["source_ip_ranges_to_nat"] for s in nat["subnetwork"]] == [["PRIMARY_IP_RANGE"]] * 2


def test_without_gpus_there_is_no_gpu_pool_and_the_variable_names_none() -> None:
    root = root_module(TERRAFORM, EXAMPLE, gpu={"accelerator": "nvidia-tesla-t4", "tiers": []})
    pools = [r for r in root.resources() if r.type == "google_container_node_pool"]
    assert not [r.address for r in pools if "guest_accelerator" in r.one("node_config")]
    assert '"gpu_accelerator":""' in root.output("airflow_variable")


@pytest.mark.parametrize("protected", [True, False])
def test_what_holds_data_is_protected_unless_somebody_says_otherwise(protected: bool) -> None:
    found = made(deletion_protection=protected)
    (cluster,) = [r for r in found if r.type == "google_container_cluster"]
    data = [r for r in found if r.type == "google_bigquery_dataset" and r.key]
    assert cluster["deletion_protection"] is protected
    assert {r["delete_contents_on_destroy"] for r in data} == {not protected}


def test_critical_alerts_also_go_to_the_channels_with_a_pager() -> None:
    pager = f"projects/{PROJECT}/notificationChannels/1"
    found = made(critical_channels=[pager])
    policies = [r for r in found if r.type == "google_monitoring_alert_policy"]
    assert all((pager in r["notification_channels"]) is (r["severity"] == "CRITICAL") for r in policies)
    (budget,) = [r for r in found if r.type == "google_billing_budget"]
    assert pager in budget.one("all_updates_rule")["monitoring_notification_channels"]


def test_every_row_of_the_errata_that_says_something_of_this_has_a_test_with_its_number() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    named = re.findall(r"^def test_row_(\d+(?:_and_\d+)?)_", tests, re.MULTILINE)
    assert {int(number) for found in named for number in found.split("_and_")} == ROWS
    table = (REPOSITORY / "docs" / "decisions.md").read_text()
    assert {int(n) for n in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} >= ROWS
