"""Who reaches whom, packet by packet, computed from the firewall's rules."""

from dataclasses import replace

import pytest

from composer.policy.firewall import End, Firewall, Packet, Rule
from composer.policy.page import REPOSITORY
from tests.fakes.infrastructure import account, firewall, of_type, one, plan, root

RANGES = root().variable("ranges")
NODE = frozenset({"f1-training-node"})


def inside(name: str, last: int = 9) -> str:
    network = str(RANGES[name]).partition("/")[0].rpartition(".")[0]
    return f"{network}.{last}"


def node(last: int) -> End:
    return End(address=inside("nodes", last), tags=NODE, account=account("nodes"))


def pod(last: int) -> End:
    """A pod: it has an address of its own, and the tag and account of its node."""
    return replace(node(last), address=inside("pods", last))


AIRFLOW = End(address=inside("airflow"))
CONTROL_PLANE = End(address=inside("control_plane", 2))
INTERNET = End(address="203.0.113.7")
GOOGLE = End(address="199.36.153.5", host="bigquery.googleapis.com")


def tcp(source: End, destination: End, port: int) -> Packet:
    return Packet(source=source, destination=destination, port=port)


@pytest.mark.parametrize("port", [8786, 32768, 45000, 60999])
def test_row_7_workers_reach_each_other_where_dask_and_the_collectives_listen(port: int) -> None:
    assert firewall().connects(tcp(pod(1), pod(2), port))


def test_row_13_the_nodes_tunnel_that_encrypts_gets_through() -> None:
    assert firewall().connects(Packet(source=node(1), destination=node(2), protocol="udp", port=51871))
    assert one("google_container_cluster")["in_transit_encryption_config"].endswith("INTER_NODE_TRANSPARENT")


@pytest.mark.parametrize("port", [22, 80, 443, 3389, 8080, 8786, 10250, 40000])
def test_row_7_nothing_comes_in_from_the_internet(port: int) -> None:
    assert not firewall().lets_in(tcp(INTERNET, node(1), port))
    assert not firewall().lets_in(tcp(INTERNET, pod(1), port))


@pytest.mark.parametrize("port", [22, 3389, 80])
def test_workers_reach_each_other_on_no_other_port(port: int) -> None:
    assert not firewall().connects(tcp(pod(1), pod(2), port))


def test_row_7_no_allow_has_the_priority_of_a_deny() -> None:
    for rules in (firewall().rules, firewall().policy):
        allowed, denied = ({r.priority for r in rules if r.allows is allows} for allows in (True, False))
        assert not allowed & denied
        assert max(allowed) < min(denied)


def test_row_7_allow_is_at_900_and_deny_at_65000() -> None:
    assert {(r.priority, r.allows) for r in firewall().rules} == {(900, True), (65000, False)}


def test_row_7_at_equal_priority_deny_would_win_as_on_google_cloud() -> None:
    layers = [("tcp", ())]
    both = [Rule("allow", "INGRESS", 1000, True, layers), Rule("deny", "INGRESS", 1000, False, [("all", ())])]
    assert not Firewall(both, []).lets_in(tcp(pod(1), pod(2), 8786))
    assert Firewall(both[:1], []).lets_in(tcp(pod(1), pod(2), 8786))


def test_machines_without_the_nodes_tag_are_reached_by_nobody() -> None:
    assert not firewall().lets_in(tcp(pod(1), replace(pod(2), tags=frozenset()), 8786))


@pytest.mark.parametrize("port", [443, 9443, 10250])
def test_the_control_plane_reaches_kubelets_and_webhooks(port: int) -> None:
    assert firewall().lets_in(tcp(CONTROL_PLANE, node(1), port))


@pytest.mark.parametrize("source", [pod(1), node(1), AIRFLOW])
def test_google_s_apis_and_the_control_plane_are_reached_by_all(source: End) -> None:
    assert firewall().lets_out(tcp(source, GOOGLE, 443))
    assert firewall().lets_out(tcp(source, CONTROL_PLANE, 443))
    assert not firewall().lets_out(tcp(source, GOOGLE, 80))


@pytest.mark.parametrize("host", ["hooks.slack.com", "events.pagerduty.com", "livetiming.formula1.com"])
def test_row_25_alert_channels_and_lap_sources_are_reached_by_airflow_and_no_pod(host: str) -> None:
    there = replace(INTERNET, host=host)
    assert firewall().lets_out(tcp(AIRFLOW, there, 443))
    assert not firewall().lets_out(tcp(pod(1), there, 443))
    assert not firewall().lets_out(tcp(node(1), there, 443))


@pytest.mark.parametrize("source", [pod(1), node(1), AIRFLOW])
def test_row_25_nobody_reaches_another_host(source: End) -> None:
    elsewhere = replace(INTERNET, host="exfiltration.example")
    assert not firewall().lets_out(tcp(source, elsewhere, 443))
    assert not firewall().lets_out(replace(tcp(source, elsewhere, 53), protocol="udp"))


def test_airflow_reaches_no_pod_but_by_the_control_plane() -> None:
    assert not firewall().connects(tcp(AIRFLOW, pod(1), 8786))


def test_row_25_nat_serves_airflow_alone_unless_images_come_from_elsewhere() -> None:
    nat = one("google_compute_router_nat")
    assert nat["source_subnetwork_ip_ranges_to_nat"] == "LIST_OF_SUBNETWORKS"
    airflow = one("google_compute_subnetwork", name="airflow")["id"]
    assert [(s["name"], s["source_ip_ranges_to_nat"]) for s in nat["subnetwork"]] == [(airflow, ["PRIMARY_IP_RANGE"])]


def test_services_have_the_range_of_which_the_network_policies_know_the_dns() -> None:
    assert set(one("google_container_cluster").one("ip_allocation_policy")) == {"cluster_secondary_range_name"}
    assert "34.118.224.10/32" in (REPOSITORY / "composer/k8s/base/network-policy.yaml").read_text()


def test_every_subnet_reaches_google_privately() -> None:
    assert all(s["private_ip_google_access"] is True for s in of_type("google_compute_subnetwork"))


def test_names_of_google_s_services_lead_to_the_addresses_that_the_firewall_lets_out() -> None:
    addresses = [r["rrdatas"] for r in of_type("google_dns_record_set") if r["type"] == "A"]
    assert len(addresses) == len(of_type("google_dns_managed_zone"))
    for address in {a for found in addresses for a in found}:
        assert firewall().lets_out(tcp(pod(1), End(address=address), 443))


def test_nothing_has_a_public_address() -> None:
    assert not [r.address for r in plan() if r.type in ("google_compute_address", "google_compute_global_address")]
    assert not [r.address for r in plan() if "access_config" in r.arguments]
    private = one("google_container_cluster").one("private_cluster_config")
    assert private["enable_private_nodes"] is True
    assert private["enable_private_endpoint"] is True


def test_the_control_plane_answers_private_ranges_only() -> None:
    networks = one("google_container_cluster").one("master_authorized_networks_config")
    assert networks["gcp_public_cidrs_access_enabled"] is False
    assert {b["display_name"]: b["cidr_block"] for b in networks["cidr_blocks"]} == {
        "airflow": RANGES["airflow"],
        "vpn": "10.200.0.0/24",
    }
