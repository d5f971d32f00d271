"""The cluster's set-up holds together, and our pods fit into it."""

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from composer.local.kubernetes.quantities import quantity
from f1_training.core.retry import RetrySettings
from f1_training.core.settings import Settings
from f1_training.kubernetes.manifests import QUEUE
from tests.fakes.golden_pods import jobs, pods
from tests.fakes.kustomize import Manifest, build_on, documents, render
from tests.fakes.network_policy import Endpoint, reaches, selects
from tests.fakes.run_plan import settings
from trainer.contract.metrics import METRICS, MOST_SERIES, Source
from trainer.contract.resources import LADDER

SETUP = Path(__file__).parents[3] / "composer" / "k8s"
FOLDERS = {
    p.parent.relative_to(SETUP).as_posix(): p.parent
    for p in sorted(SETUP.rglob("kustomization.yaml"))
    if SETUP / "serving" not in p.parents  # test_serving_setup.py
}
COMPONENTS = [n for n, f in FOLDERS.items() if documents(f / "kustomization.yaml")[0]["kind"] == "Component"]
BASE = render(SETUP / "base")
#: What each kustomization makes, and each component on top of the base.
SETUPS = {n: build_on(BASE, f) if n in COMPONENTS else render(f) for n, f in FOLDERS.items()}
NAMESPACE = str(next(f.default for f in fields(Settings) if f.name == "namespace"))
CLUSTER_WIDE = {"Namespace", "PriorityClass", "ResourceFlavor", "ClusterQueue"}
KUEUE = "kueue.x-k8s.io/v1beta2"
ON_GOOGLE_CLOUD = [name for name in pods() if name.startswith(("google-cloud", "evaluation"))]
#: As the API server asks them of every pod where a quota counts them; of no other resource.
MUST_BE_SAID = {"requests.cpu", "requests.memory", "limits.cpu", "limits.memory"}


def one(kind: str, objects: list[Manifest] | None = None) -> Manifest:
    (found,) = [o for o in objects or BASE if o["kind"] == kind]
    return found


def container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    (only,) = pod["spec"]["containers"]
    return dict(only.get("resources", {}))


def admitted(resources: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """``resources`` of a container as the API server's defaults and the LimitRange make them; refused where wrong."""
    limits, requests = dict(resources.get("limits", {})), dict(resources.get("requests", {}))
    requests = {**limits, **requests}
    for item in one("LimitRange")["spec"]["limits"]:
        assert item["type"] == "Container"
        highest = item.get("max", {})
        default = {**highest, **item.get("default", {})}
        requests = {**default, **item.get("defaultRequest", {}), **requests}
        limits = {**default, **limits}
        assert all(quantity(limits[name]) <= quantity(most) for name, most in highest.items())
    assert all(quantity(requests[name]) <= quantity(limit) for name, limit in limits.items())
    return {"limits": limits, "requests": requests}


def counted(resources: Mapping[str, Any]) -> Counter[str]:
    """What a quota counts of one such pod."""
    made = admitted(resources)
    amounts = {f"{part}.{name}": quantity(q) for part, named in made.items() for name, q in named.items()}
    return Counter({**amounts, "pods": 1})


def by_name(objects: Iterable[Manifest]) -> list[Manifest]:
    return sorted(objects, key=lambda o: (o["kind"], o["metadata"]["name"]))


def fits(total: Mapping[str, float], quota: Manifest) -> bool:
    return all(total.get(name, 0) <= quantity(most) for name, most in quota["spec"]["hard"].items())


def times(count: int, amounts: Counter[str]) -> Counter[str]:
    return Counter({name: count * amount for name, amount in amounts.items()})


def largest(gpu: bool) -> Counter[str]:
    """A worker on the largest machine."""
    top = LADDER[-1]
    limits = {"memory": top.memory, "ephemeral-storage": top.disk, **({"nvidia.com/gpu": "1"} if gpu else {})}
    return counted({"requests": {"cpu": top.cpu}, "limits": limits})


@pytest.mark.parametrize("name", FOLDERS)
def test_no_file_is_left_out(name: str) -> None:
    (body,) = documents(FOLDERS[name] / "kustomization.yaml")
    files = {p.name for p in FOLDERS[name].glob("*.yaml")} - {"kustomization.yaml"}
    assert files == {r for r in body.get("resources", []) if r.endswith(".yaml")}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
@pytest.mark.parametrize("name", FOLDERS)
def test_kubectl_makes_the_same_of_it(name: str, tmp_path: Path) -> None:
    folder = FOLDERS[name]
    if name in COMPONENTS:
        above = {"resources": [SETUP / "base"], "components": [folder]}
        paths = {field: [os.path.relpath(f, tmp_path.resolve()) for f in listed] for field, listed in above.items()}
        (tmp_path / "kustomization.yaml").write_text(json.dumps(paths))
        folder = tmp_path
    made = subprocess.run(["kubectl", "kustomize", folder], check=True, capture_output=True, text=True, timeout=60)
    assert by_name(yaml.safe_load_all(made.stdout)) == by_name(SETUPS[name])


@pytest.mark.parametrize("name", FOLDERS)
def test_the_api_s_schemas_accept_it(name: str) -> None:
    for manifest in SETUPS[name]:
        if manifest["apiVersion"].startswith("kueue."):
            assert (manifest["apiVersion"], name) == (KUEUE, "kueue")
            assert manifest["kind"] in {"ResourceFlavor", "ClusterQueue", "LocalQueue"}
            continue
        if manifest["kind"] == "PodMonitoring":
            assert (manifest["apiVersion"], name) == ("monitoring.googleapis.com/v1", "managed-prometheus")
            continue
        for version in ("1.33", "1.37"):
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("name", FOLDERS)
def test_everything_is_in_the_namespace_that_settings_name(name: str) -> None:
    objects = SETUPS[name]
    identities = Counter((o["kind"], o["metadata"]["name"]) for o in objects)
    assert set(identities.values()) == {1}
    assert {o["metadata"].get("namespace") for o in objects if o["kind"] not in CLUSTER_WIDE} == {NAMESPACE}
    assert not [o for o in objects if o["kind"] in CLUSTER_WIDE and "namespace" in o["metadata"]]
    assert one("Namespace", objects)["metadata"]["name"] == NAMESPACE


def test_the_variable_that_the_readme_shows_fits() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", (SETUP / "README.md").read_text(), re.DOTALL)
    deployed, objects = settings(**json.loads(shown)), SETUPS["kueue"]
    names = {(o["kind"], o["metadata"]["name"]) for o in objects}
    assert {
        ("Namespace", deployed.namespace),
        ("ServiceAccount", deployed.service_account),
        ("ServiceAccount", deployed.evaluator_service_account),
        ("PriorityClass", deployed.chief_priority_class),
        ("PriorityClass", deployed.worker_priority_class),
        ("LocalQueue", deployed.queue),
    } <= names
    pools = [o["spec"]["nodeLabels"] for o in objects if o["kind"] == "ResourceFlavor"]
    assert [deployed.worker_node_selector, deployed.chief_node_selector] == pools[::-1]


def test_the_example_replaces_every_placeholder() -> None:
    assert "PROJECT_ID" in json.dumps(BASE)
    assert "PROJECT_ID" not in json.dumps(SETUPS["overlays/example"])


def test_pods_that_are_not_restricted_are_refused_by_the_oldest_version_we_support() -> None:
    labels = one("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert labels["pod-security.kubernetes.io/enforce-version"] == "v1.33"


@pytest.mark.parametrize("name", ON_GOOGLE_CLOUD)
def test_what_pods_and_jobs_name_is_there(name: str) -> None:
    spec, objects = pods()[name]["spec"], SETUPS["kueue"]
    names = {
        kind: {o["metadata"]["name"] for o in objects if o["kind"] == kind} for kind in {o["kind"] for o in objects}
    }
    assert spec["serviceAccountName"] in names["ServiceAccount"]
    assert spec["priorityClassName"] in names["PriorityClass"]
    assert jobs()[name]["metadata"]["labels"][QUEUE] in names["LocalQueue"]


@pytest.mark.parametrize("name", pods())
def test_the_limit_range_adds_nothing_to_our_pods(name: str) -> None:
    said = container(pods()[name])
    assert admitted(said) == {"limits": said["limits"], "requests": {**said["limits"], **said["requests"]}}


def test_a_pod_that_says_nothing_is_bounded() -> None:
    made = admitted({})
    assert {"cpu", "memory", "ephemeral-storage"} <= set(made["requests"])
    assert set(made["limits"]) == {"memory", "ephemeral-storage"}


@pytest.mark.parametrize("name", pods())
def test_the_quota_asks_for_nothing_that_our_pods_do_not_say(name: str) -> None:
    asked = MUST_BE_SAID & set(one("ResourceQuota")["spec"]["hard"])
    assert asked <= {k for k, amount in counted(container(pods()[name])).items() if amount}


def test_two_of_the_largest_runs_fit_into_the_quota_and_three_do_not() -> None:
    quota = one("ResourceQuota")
    mains = times(2, largest(gpu=False))
    assert fits(times(20, largest(gpu=True)) + mains, quota)
    assert not fits(times(30, largest(gpu=False)) + mains, quota)


def test_a_day_s_ended_jobs_and_secrets_fit_into_the_quota() -> None:
    # Four models, every retry spent: two Jobs and a Secret an attempt, and an evaluation each.
    attempts = 4 * (1 + RetrySettings().overall)
    assert fits(
        {"count/jobs.batch": 2 * attempts + 4, "count/secrets": attempts, "count/services": attempts},
        one("ResourceQuota"),
    )


def test_training_pushes_nobody_out_and_is_still_given_nodes() -> None:
    classes = {o["metadata"]["name"]: o for o in BASE if o["kind"] == "PriorityClass"}
    assert {c["preemptionPolicy"] for c in classes.values()} == {"Never"}
    assert not [c for c in classes.values() if c.get("globalDefault")]
    chief, worker = (classes[pods()[f"google-cloud-gpu/{c}"]["spec"]["priorityClassName"]] for c in ("chief", "worker"))
    # Pods without a class have 0; the cluster autoscaler's cut-off is -10.
    assert -10 <= worker["value"] < chief["value"] <= 0


def flavors() -> dict[str, dict[str, float]]:
    """What each flavor of the queue has room for."""
    (group,) = one("ClusterQueue", SETUPS["kueue"])["spec"]["resourceGroups"]
    covered = group["coveredResources"]
    rooms: dict[str, dict[str, float]] = {}
    for flavor in group["flavors"]:
        # Kueue refuses another order.
        assert [r["name"] for r in flavor["resources"]] == covered
        rooms[flavor["name"]] = {r["name"]: quantity(r["nominalQuota"]) for r in flavor["resources"]}
    return rooms


def test_the_queue_leads_to_the_nodes() -> None:
    objects = SETUPS["kueue"]
    queue, local = one("ClusterQueue", objects), one("LocalQueue", objects)
    assert local["spec"]["clusterQueue"] == queue["metadata"]["name"]
    assert set(flavors()) == {o["metadata"]["name"] for o in objects if o["kind"] == "ResourceFlavor"}
    assert selects(queue["spec"]["namespaceSelector"], {"kubernetes.io/metadata.name": NAMESPACE})
    assert not selects(queue["spec"]["namespaceSelector"], {"kubernetes.io/metadata.name": "default"})


@pytest.mark.parametrize("name", ON_GOOGLE_CLOUD)
def test_a_pod_takes_the_flavor_of_its_role_and_asks_for_nothing_that_it_lacks(name: str) -> None:
    labels = {o["metadata"]["name"]: o["spec"]["nodeLabels"] for o in SETUPS["kueue"] if o["kind"] == "ResourceFlavor"}
    known = {key for found in labels.values() for key in found}
    wanted = {k: v for k, v in pods()[name]["spec"].get("nodeSelector", {}).items() if k in known}
    flavor = next(f for f in flavors() if wanted.items() <= labels[f].items())
    of_chiefs = name.endswith("/chief") or name.startswith("preflight-chief")
    assert flavor == ("f1-training-chief" if of_chiefs else "f1-training-worker")
    requests = admitted(container(pods()[name]))["requests"]
    assert all(quantity(amount) <= flavors()[flavor][resource] for resource, amount in requests.items())


def test_a_chief_that_is_admitted_finds_room_for_its_workers() -> None:
    rooms = flavors()
    chiefs, workers = round(rooms["f1-training-chief"]["pods"]), rooms["f1-training-worker"]
    wanted = times(chiefs * 10, largest(gpu=True))
    wanted.update(times(chiefs, largest(gpu=False)))  # evaluations of earlier ones
    assert all(wanted["pods" if r == "pods" else f"requests.{r}"] <= room for r, room in workers.items())


def test_what_the_queue_admits_the_quota_takes() -> None:
    rooms = list(flavors().values())
    total = {"pods" if r == "pods" else f"requests.{r}": sum(room[r] for room in rooms) for r in rooms[0]}
    assert fits(total, one("ResourceQuota"))


def test_the_queue_resumes_the_workers() -> None:
    """Kueue makes no Workload of a Job whose controller is in a queue; it suspends it, and leaves it to that controller
    to resume it. A Job resumes none.
    """
    for name in ON_GOOGLE_CLOUD:
        metadata = jobs()[name]["metadata"]
        assert QUEUE in metadata["labels"]
        assert not [o for o in metadata.get("ownerReferences", []) if o.get("controller")]


def test_managed_prometheus_reaches_the_metrics_of_chiefs_and_workers_and_nothing_else() -> None:
    objects = SETUPS["managed-prometheus"]
    spec = one("PodMonitoring", objects)["spec"]
    (endpoint,) = spec["endpoints"]
    collector = Endpoint(address="10.4.0.9", namespace="gmp-system")
    stranger = Endpoint(address="10.4.0.8", namespace="default")
    for name, pod in pods().items():
        labels = pod["metadata"]["labels"]
        is_scraped = name.rpartition("/")[2] in ("chief", "worker")
        assert selects(spec["selector"], labels) is is_scraped
        target = Endpoint(address="10.4.1.2", namespace=NAMESPACE, labels=labels)
        assert reaches(objects, collector, target, 8080) is is_scraped
        assert not reaches(BASE, collector, target, 8080)
        assert not reaches(objects, collector, target, 8786)
        assert not reaches(objects, stranger, target, 8080)
        ports = {p["name"]: p["containerPort"] for p in pod["spec"]["containers"][0].get("ports", [])}
        assert not is_scraped or ports[endpoint["port"]] == 8080
    most = MOST_SERIES * sum(m.source is not Source.AIRFLOW for m in METRICS.values())
    buckets = max(len(m.bounds) for m in METRICS.values()) + 3
    assert most < spec["limits"]["samples"] < most * buckets
