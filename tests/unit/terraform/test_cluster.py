"""The nodes and the environment are those that the catalogue, the manifests and the Airflow Variable expect."""

import json

import pytest

from composer.policy.expressions import ExpressionError
from composer.policy.page import EXAMPLE, TERRAFORM
from composer.policy.plan import root_module
from f1_training.core.settings import read_settings
from f1_training.kubernetes.podspec import ACCELERATOR, GPU
from tests.fakes.golden_pods import pods
from tests.fakes.infrastructure import PROJECT, account, of_type, one, plan, pools, root
from trainer.contract import read_catalogue
from trainer.contract.resources import LADDER, MACHINE_TYPES

POOL, SPOT, INSTANCE = "f1-training/pool", "cloud.google.com/gke-spot", "node.kubernetes.io/instance-type"
EFFECTS = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}
ON_GOOGLE_CLOUD = [name for name in pods() if name.startswith(("google-cloud", "evaluation", "preflight"))]


def labels(name: str) -> dict[str, str]:
    """The labels of a pool's nodes, GKE's own included."""
    node = pools()[name]
    found = {**node["labels"], INSTANCE: node["machine_type"]}
    found |= {SPOT: "true"} if node["spot"] else {}
    for gpu in node.get("guest_accelerator", []):
        found[ACCELERATOR] = gpu["type"]
    return found


def taints(name: str) -> list[tuple[str, str, str]]:
    node = pools()[name]
    by_gke = [(GPU, "present", "NoSchedule")] if "guest_accelerator" in node else []
    return [(t["key"], t["value"], EFFECTS[t["effect"]]) for t in node.get("taint", [])] + by_gke


def takes(name: str, spec: dict[str, object]) -> bool:
    """Whether the scheduler puts a pod of ``spec`` on a node of pool ``name``."""
    selector, tolerations = dict(spec.get("nodeSelector", {})), list(spec["tolerations"])  # type: ignore[call-overload]
    required = spec["affinity"]["nodeAffinity"].get("requiredDuringSchedulingIgnoredDuringExecution", {})  # type: ignore[index]
    found = labels(name)
    terms = [e for t in required.get("nodeSelectorTerms", []) for e in t["matchExpressions"]]
    return (
        selector.items() <= found.items()
        and all((e["key"] in found) is (e["operator"] == "Exists") for e in terms)
        and all(any(_tolerates(t, taint) for t in tolerations) for taint in taints(name))
    )


def _tolerates(toleration: dict[str, str], taint: tuple[str, str, str]) -> bool:
    key, value, effect = taint
    same = toleration.get("operator") == "Exists" or toleration.get("value") == value
    return toleration.get("key") == key and same and toleration.get("effect", effect) == effect


@pytest.mark.parametrize("name", ON_GOOGLE_CLOUD)
def test_row_2_every_pod_finds_a_pool(name: str) -> None:
    assert [pool for pool in pools() if takes(pool, pods()[name]["spec"])]


@pytest.mark.parametrize("name", [n for n in ON_GOOGLE_CLOUD if not n.endswith("/worker")])
def test_row_21_chiefs_and_evaluations_never_land_on_spot(name: str) -> None:
    assert not [pool for pool in pools() if takes(pool, pods()[name]["spec"]) and pools()[pool]["spot"]]


def test_row_21_workers_have_spot_nodes_and_ordinary_ones_to_fall_back_to() -> None:
    spec = pods()["google-cloud-3-workers/worker"]["spec"]
    assert {pools()[pool]["spot"] for pool in pools() if takes(pool, spec)} == {True, False}


def test_row_26_each_tier_has_a_pool_on_demand_and_one_on_spot() -> None:
    for spot in (True, False):
        plain = [n for n in pools().values() if n["labels"].get(POOL) == "worker" and "guest_accelerator" not in n]
        assert sorted(n["machine_type"] for n in plain if n["spot"] is spot) == sorted(MACHINE_TYPES.values())


def test_row_16_every_model_of_the_catalogue_has_nodes_of_its_type() -> None:
    types = {node["machine_type"] for node in pools().values() if node["labels"].get(POOL) == "worker"}
    assert {e.resources.machine_type for e in read_catalogue().entries.values()} <= types
    assert {rung.machine_type for rung in LADDER} <= types


def test_row_2_all_pools_but_the_system_s_are_from_zero() -> None:
    least = {r["name"]: r.one("autoscaling")["total_min_node_count"] for r in of_type("google_container_node_pool")}
    assert {name for name, count in least.items() if count} == {"system"}
    assert POOL not in pools()["system"]["labels"]


def test_a_run_of_ten_workers_has_room_in_one_pool() -> None:
    most = {r["name"]: r.one("autoscaling")["total_max_node_count"] for r in of_type("google_container_node_pool")}
    assert all(most[name] >= 20 for name in pools() if labels(name).get(POOL) == "worker")
    assert most["chief"] >= 2


def test_gpu_nodes_are_of_the_kind_that_the_variable_names() -> None:
    kinds = {g["type"] for node in pools().values() for g in node.get("guest_accelerator", [])}
    assert kinds == {json.loads(root().output("airflow_variable"))["gpu_accelerator"]}


@pytest.mark.parametrize("name", pools())
def test_nodes_are_hardened(name: str) -> None:
    node = pools()[name]
    assert node["workload_metadata_config"] == [{"mode": "GKE_METADATA"}]
    assert node["shielded_instance_config"] == [{"enable_secure_boot": True, "enable_integrity_monitoring": True}]
    assert node["service_account"] == account("nodes")
    assert node["tags"] == ["f1-training-node"]
    assert node["disk_size_gb"] == 100


def test_workers_keep_their_cache_on_an_ssd() -> None:
    scratch = {
        n: c["ephemeral_storage_local_ssd_config"] for n, c in pools().items() if labels(n).get(POOL) == "worker"
    }
    assert all(found == [{"local_ssd_count": 1}] for found in scratch.values())


def test_row_13_network_policies_are_enforced_and_secrets_encrypted() -> None:
    cluster = one("google_container_cluster")
    assert cluster["datapath_provider"] == "ADVANCED_DATAPATH"
    assert cluster["in_transit_encryption_config"] == "IN_TRANSIT_ENCRYPTION_INTER_NODE_TRANSPARENT"
    assert cluster.one("database_encryption")["state"] == "ENCRYPTED"
    assert cluster.one("workload_identity_config")["workload_pool"] == f"{PROJECT}.svc.id.goog"


def test_row_2_there_is_no_instance_group_of_our_own() -> None:
    assert not [r.address for r in plan() if "instance_group" in r.type or "autoscaler" in r.type]


def test_row_1_the_environment_is_composer_3_with_a_triggerer_and_a_pinned_image() -> None:
    config = one("google_composer_environment").one("config")
    assert config["software_config"][0]["image_version"] == "composer-3-airflow-3.3.1-build.2"
    assert config["workloads_config"][0]["triggerer"][0]["count"] >= 1
    assert config["enable_private_environment"] is True
    assert config["enable_private_builds_only"] is True
    assert config["node_config"][0]["service_account"] == account("airflow")


def test_row_20_connections_and_variables_come_from_secret_manager() -> None:
    overrides = one("google_composer_environment").one("config")["software_config"][0]["airflow_config_overrides"]
    assert overrides["secrets-backend"].endswith(".CloudSecretManagerBackend")
    kwargs = json.loads(overrides["secrets-backend_kwargs"])
    prefixes = (kwargs["connections_prefix"], kwargs["variables_prefix"])
    assert all(r["secret_id"].startswith(prefixes) for r in of_type("google_secret_manager_secret"))


def test_the_variable_that_terraform_prints_is_one_that_airflow_reads() -> None:
    settings = read_settings(json.loads(root().output("airflow_variable")))
    assert settings.project == PROJECT
    assert settings.uris.models == "gs://f1-strategy-models"
    assert (settings.service_account, settings.account_for_evaluation()) == ("trainer", "evaluator")
    selected = {settings.worker_node_selector[POOL], settings.chief_node_selector[POOL]}
    assert selected == {labels(name).get(POOL) for name in pools()} - {None}


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("project_id", "No Such Project", "var.project_id"),
        ("composer_image", "composer-3-airflow-3", "names a build"),
        ("monthly_budget_usd", 0, "must be more than 0"),
        ("node_zones", [], "needs a zone"),
        ("no_such_thing", 1, "no such variables: no_such_thing"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(name: str, value: object, problem: str) -> None:
    with pytest.raises(ExpressionError, match=problem):
        root_module(TERRAFORM, EXAMPLE, **{name: value})


def test_no_project_is_written_into_the_files() -> None:
    other = list(
        root_module(TERRAFORM, EXAMPLE, project_id="another-team", bucket_prefix="x", training_image="").resources()
    )
    assert not [r.address for r in other if PROJECT in json.dumps(r.arguments, default=sorted)]
