"""The prediction servers' set-up holds together, bounds what they may do, and loses no request in a rollout."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from composer.local.kubernetes.quantities import quantity
from f1_training.kubernetes import podspec
from tests.fakes.kustomize import Manifest, documents, render
from tests.fakes.network_policy import Endpoint, reaches
from trainer.serve.__main__ import read_settings
from trainer.serve.openapi import LIVE
from trainer.serve.server import FINISH_S

SETUP = Path(__file__).parents[3] / "composer" / "k8s" / "serving"
FOLDERS = {p.parent.relative_to(SETUP).as_posix(): p.parent for p in sorted(SETUP.rglob("kustomization.yaml"))}
COMPONENT = "internal-load-balancer"
#: What each kustomization makes; the component is part of the example.
SETUPS = {name: render(folder) for name, folder in FOLDERS.items() if name != COMPONENT}
EXAMPLE, MODEL = SETUPS["overlays/example"], SETUPS["model"]
NAME = "predictions-tire-degradation"
PLACEHOLDERS = ("PROJECT_ID", "BUCKET", "MODEL_TYPE", "REGION-", "DIGEST")


def one(kind: str, name: str = NAME) -> Manifest:
    (found,) = [o for o in EXAMPLE if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    return found


POD = one("Deployment")["spec"]["template"]
(SERVER,) = POD["spec"]["containers"]
ENVIRONMENT = {variable["name"]: variable["value"] for variable in SERVER["env"]}
LABELS = POD["metadata"]["labels"]


def by_name(objects: Any) -> list[Manifest]:
    return sorted(objects, key=lambda o: (o["kind"], o["metadata"]["name"]))


@pytest.mark.parametrize("name", FOLDERS)
def test_no_file_is_left_out(name: str) -> None:
    (body,) = documents(FOLDERS[name] / "kustomization.yaml")
    files = {p.name for p in FOLDERS[name].glob("*.yaml")} - {"kustomization.yaml"}
    assert files == {r for r in body.get("resources", []) if r.endswith(".yaml")}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
@pytest.mark.parametrize("name", SETUPS)
def test_kubectl_makes_the_same_of_it(name: str) -> None:
    made = subprocess.run(
        ["kubectl", "kustomize", FOLDERS[name]], check=True, capture_output=True, text=True, timeout=60
    )
    assert by_name(yaml.safe_load_all(made.stdout)) == by_name(SETUPS[name])


@pytest.mark.parametrize("name", SETUPS)
def test_the_api_s_schemas_accept_it(name: str) -> None:
    for manifest in SETUPS[name]:
        for version in ("1.33", "1.37"):
            kubernetes_validate.validate(manifest, version, strict=True)


def test_everything_is_in_a_namespace_of_its_own_that_refuses_pods_that_are_not_restricted() -> None:
    namespace = one("Namespace", "f1-serving")
    assert {o["metadata"].get("namespace") for o in EXAMPLE if o is not namespace} == {"f1-serving"}
    labels = namespace["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert labels["pod-security.kubernetes.io/enforce-version"] == "v1.33"


def test_the_example_replaces_every_placeholder() -> None:
    before, after = json.dumps(MODEL + SETUPS["base"]), json.dumps(EXAMPLE)
    assert [p for p in PLACEHOLDERS if p not in before] == []
    assert [p for p in PLACEHOLDERS if p in after] == []


def test_a_second_model_has_servers_of_its_own() -> None:
    for kind, path in (("Deployment", "matchLabels"), ("PodDisruptionBudget", "matchLabels"), ("Service", "")):
        selector = one(kind)["spec"]["selector"]
        assert (selector[path] if path else selector)["f1-training/model-type"] == "tire_degradation"
    assert LABELS["f1-training/model-type"] == "tire_degradation"
    assert one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == NAME
    for constraint in POD["spec"]["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"] == LABELS


def test_the_server_takes_its_environment() -> None:
    found = read_settings(ENVIRONMENT)
    assert found.storage_uri == "gs://f1-strategy-models/models/tire_degradation"
    assert found.wait
    (port,) = SERVER["ports"]
    assert (port["name"], port["containerPort"]) == ("http", found.port)
    (served,) = one("Service")["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    probes = {name: SERVER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    # A server without a champion is alive: it must not be started again and again.
    assert probes["startup"]["path"] == probes["liveness"]["path"] == LIVE
    assert probes["readiness"]["path"] == found.health_route


def test_a_rollout_takes_no_server_away_before_another_serves() -> None:
    spec = one("Deployment")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    drain_s = read_settings(ENVIRONMENT).drain_s
    readiness = SERVER["readinessProbe"]
    assert drain_s >= readiness["periodSeconds"] * readiness["failureThreshold"], (
        "clients are not sent elsewhere in time"
    )
    assert POD["spec"]["terminationGracePeriodSeconds"] > drain_s + FINISH_S
    assert one("HorizontalPodAutoscaler")["spec"]["minReplicas"] >= 2
    assert one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_a_server_is_nobody_special() -> None:
    spec = POD["spec"]
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    assert spec["securityContext"] == {
        "runAsNonRoot": True, "runAsUser": podspec.USER, "runAsGroup": podspec.USER, "fsGroup": podspec.USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert SERVER["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert spec["serviceAccountName"] == one("ServiceAccount", "predictor")["metadata"]["name"]
    assert "@sha256:" in SERVER["image"]
    assert not [o["kind"] for o in EXAMPLE if o["kind"].endswith(("Role", "RoleBinding", "Secret"))]


def test_four_models_with_all_their_servers_fit_into_the_quota() -> None:
    pods = 4 * (one("HorizontalPodAutoscaler")["spec"]["maxReplicas"] + 1)
    hard = one("ResourceQuota", "serving")["spec"]["hard"]
    requests, limits = SERVER["resources"]["requests"], SERVER["resources"]["limits"]
    assert requests.keys() >= {"cpu", "memory", "ephemeral-storage"}
    assert {"memory", "ephemeral-storage"} == set(limits)
    asked = {f"requests.{name}": pods * quantity(amount) for name, amount in requests.items()} | {"pods": pods}
    assert all(amount <= quantity(hard[name]) for name, amount in asked.items())
    assert set(hard) == {*asked, "services.loadbalancers"}


def test_a_load_balancer_is_never_one_that_the_internet_reaches() -> None:
    for service in [o for o in MODEL + EXAMPLE if o["kind"] == "Service"]:
        assert service["metadata"]["annotations"]["networking.gke.io/load-balancer-type"] == "Internal"
    assert [o["spec"]["type"] for o in MODEL if o["kind"] == "Service"] == ["ClusterIP"]
    assert one("Service")["spec"]["type"] == "LoadBalancer"


def inside(namespace: str, labels: dict[str, str]) -> Endpoint:
    return Endpoint(address="192.0.2.9" if namespace else "10.8.0.9", namespace=namespace, labels=labels)


SERVED = inside("f1-serving", LABELS)
VPC, PUBLIC, PRIVATE_GOOGLE = (Endpoint(address=a) for a in ("10.0.0.5", "142.250.74.106", "199.36.153.9"))
CLIENT = inside("pit-wall", {"f1-training/predictions": "client"})
WITHOUT_BALANCER = [o for o in EXAMPLE if not o["metadata"]["name"].startswith("load-balancer")]


@pytest.mark.parametrize(
    ("objects", "source", "target", "port", "allowed"),
    [
        (EXAMPLE, CLIENT, SERVED, 8080, True),
        (EXAMPLE, CLIENT, SERVED, 22, False),
        (EXAMPLE, inside("pit-wall", {}), SERVED, 8080, False),
        (EXAMPLE, VPC, SERVED, 8080, True),
        (WITHOUT_BALANCER, VPC, SERVED, 8080, False),
        (WITHOUT_BALANCER, CLIENT, SERVED, 8080, True),
        (EXAMPLE, PUBLIC, SERVED, 8080, False),
        (EXAMPLE, SERVED, SERVED, 8080, False),
        (EXAMPLE, SERVED, PRIVATE_GOOGLE, 443, True),
        (EXAMPLE, SERVED, PUBLIC, 443, False),
        (SETUPS["base"], SERVED, PUBLIC, 443, True),
        (EXAMPLE, SERVED, VPC, 443, False),
        (EXAMPLE, SERVED, Endpoint(address="169.254.169.254"), 80, True),
        (EXAMPLE, SERVED, Endpoint(address="10.8.1.2", namespace="kube-system", labels={"k8s-app": "kube-dns"}), 53, True),
    ],
)  # fmt: skip
def test_clients_reach_the_servers_and_they_reach_google_alone(
    objects: list[Manifest], source: Endpoint, target: Endpoint, port: int, allowed: bool
) -> None:
    assert reaches(objects, source, target, port) is allowed
