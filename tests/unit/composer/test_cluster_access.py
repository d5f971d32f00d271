"""What the cluster's set-up lets Airflow do, and pods reach: no more than is used, and no less."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from f1_training.kubernetes.permissions import NEEDED
from f1_training.kubernetes.podspec import CHIEF_PORT
from tests.fakes.golden_pods import pods
from tests.fakes.kustomize import build_on, render
from tests.fakes.network_policy import Endpoint, reaches

ROOT = Path(__file__).parents[3]
SETUP = ROOT / "composer" / "k8s"
BASE = render(SETUP / "base")

#: A call's first word, and the verb that the API asks the roles for.
VERBS = {"create": "create", "read": "get", "list": "list", "patch": "patch", "replace": "update", "delete": "delete"}
SUBRESOURCES = ("log", "status", "exec", "eviction")
APIS = {"": client.CoreV1Api, "batch": client.BatchV1Api}
#: Everybody may ask the API what they may do.
FREE = {"create_self_subject_access_review"}
Permission = tuple[str, str, str]


def api_calls() -> Iterator[str]:
    """Names of the client's methods that the Airflow side uses."""
    for path in (ROOT / "plugins" / "f1_training").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.partition("_")[0] in VERBS:
                if any(hasattr(api, node.attr) for api in (*APIS.values(), client.AuthorizationV1Api)):
                    yield node.attr


def permission(call: str) -> Permission:
    """Verb, group and resource that ``call`` needs."""
    verb, scope, noun = call.split("_", 2)
    assert scope == "namespaced", f"{call} reaches beyond the namespace; Airflow has no role there"
    parts = noun.split("_")
    sub = f"/{parts.pop()}" if parts[-1] in SUBRESOURCES else ""
    resource = "".join(parts)
    plural = f"{resource[:-1]}ies" if resource.endswith("y") else f"{resource}s"
    (group,) = [name for name, api in APIS.items() if hasattr(api, call)]
    return VERBS[verb], group, plural + sub


def granted(objects: list[dict[str, Any]]) -> set[Permission]:
    rules = [rule for o in objects if o["kind"] == "Role" for rule in o["rules"]]
    assert all("resourceNames" not in rule for rule in rules)
    return {(v, g, r) for rule in rules for v in rule["verbs"] for g in rule["apiGroups"] for r in rule["resources"]}


USED = {permission(call) for call in api_calls() if call not in FREE}


def test_calls_are_found_and_understood() -> None:
    assert {("create", "batch", "jobs"), ("get", "", "pods/log"), ("list", "", "events")} <= USED


def test_the_preflight_asks_for_what_is_used_and_for_nothing_else() -> None:
    assert {(p.verb, p.group, p.resource) for p in NEEDED} == USED
    assert len(set(NEEDED)) == len(NEEDED)


def test_airflow_may_do_what_it_does() -> None:
    assert not USED - granted(BASE)


def test_airflow_may_do_nothing_else() -> None:
    assert not granted(BASE) - USED


def test_roles_end_at_the_namespace_and_go_to_airflow_alone() -> None:
    assert not [o["kind"] for o in BASE if o["kind"].startswith("ClusterRole")]
    (role,) = [o for o in BASE if o["kind"] == "Role"]
    (binding,) = [o for o in BASE if o["kind"] == "RoleBinding"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["roleRef"]["kind"] == "Role"
    assert [s["kind"] for s in binding["subjects"]] == ["User"]
    assert "*" not in {part for permitted in granted(BASE) for part in permitted}


def pod(component: str) -> Endpoint:
    other = {"evaluate": "evaluation/evaluate", "probe": "preflight-worker-nodes/probe"}
    name = other.get(component, f"google-cloud-3-workers/{component}")
    return Endpoint(address="10.8.0.7", namespace="f1-training", labels=pods()[name]["metadata"]["labels"])


CHIEF, WORKER, EVALUATE, PROBE = pod("chief"), pod("worker"), pod("evaluate"), pod("probe")
STRANGER = Endpoint(address="10.8.0.8", namespace="f1-training", labels={"app.kubernetes.io/component": "chief"})
ELSEWHERE = Endpoint(address="10.8.0.9", namespace="default", labels=CHIEF.labels)
KUBE_DNS, NODE_DNS, OTHER_SYSTEM_POD = (
    Endpoint(address="10.8.1.2", namespace="kube-system", labels={"k8s-app": name})
    for name in ("kube-dns", "node-local-dns", "metrics-server")
)
PUBLIC, IN_THE_VPC, PRIVATE_GOOGLE, RESTRICTED_GOOGLE, METADATA, METADATA_NODE, DNS_CACHE, KUBE_DNS_SERVICE = (
    Endpoint(address=address)
    for address in (
        "142.250.74.106",
        "10.0.0.5",
        "199.36.153.9",
        "199.36.153.5",
        "169.254.169.254",
        "169.254.169.252",
        "169.254.20.10",
        "34.118.224.10",
    )
)
FREE_PORT = 43_817


@pytest.mark.parametrize("component", ["google-cloud-gpu", "one-machine-2-workers-attempt-2", "one-worker"])
def test_pods_of_every_kind_of_job_have_the_labels_that_policies_select(component: str) -> None:
    chief = pods()[f"{component}/chief"]["metadata"]["labels"]
    keys = ("app.kubernetes.io/name", "app.kubernetes.io/component")
    assert [chief[k] for k in keys] == [CHIEF.labels[k] for k in keys]


@pytest.mark.parametrize(
    ("source", "target", "port", "protocol", "allowed"),
    [
        (PROBE, CHIEF, CHIEF_PORT, "TCP", False),
        (WORKER, CHIEF, CHIEF_PORT, "TCP", True),
        (CHIEF, WORKER, FREE_PORT, "TCP", True),
        (WORKER, WORKER, FREE_PORT, "TCP", True),
        (WORKER, CHIEF, FREE_PORT, "UDP", False),
        (EVALUATE, CHIEF, CHIEF_PORT, "TCP", False),
        (WORKER, EVALUATE, FREE_PORT, "TCP", False),
        (STRANGER, CHIEF, CHIEF_PORT, "TCP", False),
        (WORKER, STRANGER, CHIEF_PORT, "TCP", False),
        (ELSEWHERE, CHIEF, CHIEF_PORT, "TCP", False),
        (WORKER, ELSEWHERE, CHIEF_PORT, "TCP", False),
        (PUBLIC, CHIEF, CHIEF_PORT, "TCP", False),
        (IN_THE_VPC, WORKER, FREE_PORT, "TCP", False),
    ],
)
def test_chief_and_workers_reach_each_other_and_nobody_else_reaches_them(
    source: Endpoint, target: Endpoint, port: int, protocol: str, allowed: bool
) -> None:
    assert reaches(BASE, source, target, port, protocol) is allowed


@pytest.mark.parametrize(
    "source", [CHIEF, WORKER, EVALUATE, PROBE, STRANGER], ids=["chief", "worker", "evaluate", "probe", "stranger"]
)
@pytest.mark.parametrize(
    ("target", "port", "protocol", "allowed"),
    [
        *(
            (dns, 53, p, True)
            for dns in (KUBE_DNS, NODE_DNS, DNS_CACHE, KUBE_DNS_SERVICE, METADATA)
            for p in ("UDP", "TCP")
        ),
        (KUBE_DNS, 443, "TCP", False),
        (OTHER_SYSTEM_POD, 53, "UDP", False),
        (PUBLIC, 53, "UDP", False),
        (METADATA, 80, "TCP", True),
        (METADATA_NODE, 988, "TCP", True),
        (METADATA, 443, "TCP", False),
        (PUBLIC, 443, "TCP", True),
        (PUBLIC, 80, "TCP", False),
        (PRIVATE_GOOGLE, 443, "TCP", True),
        (RESTRICTED_GOOGLE, 443, "TCP", True),
        (IN_THE_VPC, 443, "TCP", False),
        (ELSEWHERE, 443, "TCP", False),
    ],
)
def test_our_pods_get_out_to_dns_metadata_and_google_alone(
    source: Endpoint, target: Endpoint, port: int, protocol: str, allowed: bool
) -> None:
    assert reaches(BASE, source, target, port, protocol) is (allowed and source is not STRANGER)


def test_with_private_google_access_the_internet_is_out_of_reach() -> None:
    objects = build_on(BASE, SETUP / "private-google-access")
    wanted = [(PUBLIC, False), (PRIVATE_GOOGLE, True), (RESTRICTED_GOOGLE, True), (IN_THE_VPC, False)]
    assert [reaches(objects, WORKER, target, 443) for target, _ in wanted] == [allowed for _, allowed in wanted]
    assert reaches(objects, WORKER, CHIEF, CHIEF_PORT)
