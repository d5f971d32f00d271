"""What a deployment may choose: other values of the variables, and what they change."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from composer.policy.access import Thing, access_of
from composer.policy.firewall import End, Packet, firewall_of
from composer.policy.page import EXAMPLE, REPOSITORY, TERRAFORM
from composer.policy.plan import Resource, root_module
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
