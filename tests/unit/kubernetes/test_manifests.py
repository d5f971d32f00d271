"""Manifests against golden files and the API's own schemas. Write the files anew with ``UPDATE_GOLDEN=1``."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from f1_training.core.plan import RunPlan, plan_runs
from f1_training.core.settings import Settings
from f1_training.core.specs import evaluation_spec, probe_spec, training_spec
from f1_training.kubernetes.certificates import Certificates
from f1_training.kubernetes.manifests import (
    Bundle,
    Manifest,
    evaluation_job,
    probe_job,
    training_bundle,
    with_owner,
    worker_job,
)
from f1_training.kubernetes.names import Purpose
from f1_training.kubernetes.settings import job_settings
from tests.fakes.run_plan import RUN, held_out_snapshot, settings, training_result, training_snapshot
from trainer.contract import Catalogue, EvaluationSpec, TrainingSpec, read_catalogue
from trainer.contract.probe import ProbeSpec

GOLDEN = Path(__file__).parents[2] / "golden" / "manifests"
#: The newest whose schemas the validator ships.
NEWEST = "1.37"
CERTIFICATES = Certificates(ca="the CA", certificate="the certificate", key="the key")
ON_GOOGLE_CLOUD = settings(
    service_account="trainer",
    evaluator_service_account="evaluator",
    machine_type_label="node.kubernetes.io/instance-type",
    chief_node_selector={"f1-training/pool": "chief"},
    worker_spot="preferred",
    chief_priority_class="f1-training-chief",
    worker_priority_class="f1-training-worker",
    gpu_accelerator="nvidia-tesla-t4",
    queue="training",
    metrics={"exporters": ["prometheus", "cloud_monitoring"], "location": "europe-west4"},
)
ON_ONE_MACHINE = settings(
    "file:///var/storage",
    collective_host="127.0.0.1",
    threads=1,
    pod_environment={"BIGQUERY_STORAGE_EMULATOR_HOST": "127.0.0.1:9060"},
)


#: Not the catalogue's own entry, so that a better model needs no other golden files.
ENTRY = replace(
    read_catalogue().entries["tire_degradation"],
    features=("tire_age_laps", "stint"),
    rounds=800,
    logical_shards=10,
    params={"xgboost": {"max_depth": 6}},
    early_stopping_rounds=50,
    segment_rounds=100,
    seed=7,
)


def make_plan(deployed: Settings | None = None, **params: Any) -> RunPlan:
    asked = {"model_type": "tire_degradation", "num_workers": 2, **params}
    catalogue = Catalogue(entries={"tire_degradation": ENTRY})
    return plan_runs(asked, deployed or settings(), RUN, catalogue, "0.1.0")[0]


class PlainDumper(yaml.SafeDumper):
    """YAML without anchors, as people write it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def bundle(plan: RunPlan, attempt: int = 1) -> Bundle:
    spec = training_spec(plan, training_snapshot(plan), attempt)
    return training_bundle(spec, job_settings(plan, Purpose.TRAIN, attempt), CERTIFICATES)


def evaluation(plan: RunPlan) -> Bundle:
    spec = evaluation_spec(plan, held_out_snapshot(plan), training_result(plan), training=training_snapshot(plan))
    return Bundle(main=evaluation_job(spec, job_settings(plan, Purpose.EVALUATE, 1)))


def probing(plan: RunPlan, purpose: Purpose) -> Bundle:
    return Bundle(main=probe_job(probe_spec(plan, 3, plan.device), job_settings(plan, purpose, 1), purpose))


BUNDLES = {
    "preflight-chief-nodes": probing(make_plan(ON_GOOGLE_CLOUD, dry_run=True), Purpose.CHIEF_NODES),
    "preflight-worker-nodes": probing(make_plan(ON_GOOGLE_CLOUD, dry_run=True, device="gpu"), Purpose.WORKER_NODES),
    "google-cloud-3-workers": bundle(make_plan(ON_GOOGLE_CLOUD, num_workers=3, dry_run=False)),
    "google-cloud-gpu": bundle(make_plan(ON_GOOGLE_CLOUD, num_workers=2, device="gpu")),
    "one-machine-2-workers-attempt-2": bundle(make_plan(ON_ONE_MACHINE, num_workers=2, dry_run=True), attempt=2),
    "one-worker": bundle(make_plan(ON_ONE_MACHINE, num_workers=1, dry_run=True)),
    "evaluation": evaluation(make_plan(ON_GOOGLE_CLOUD)),
}


def objects(made: Bundle) -> list[Manifest]:
    return [made.main, *(with_owner(m, made.name, "00000000-0000-0000-0000-000000000000") for m in made.owned)]


def containers(made: Bundle) -> list[dict[str, Any]]:
    return [m["spec"]["template"]["spec"]["containers"][0] for m in objects(made) if m["kind"] == "Job"]


@pytest.mark.parametrize("name", BUNDLES)
def test_manifests_are_the_golden_ones(name: str) -> None:
    text = yaml.dump_all(objects(BUNDLES[name]), Dumper=PlainDumper, sort_keys=True, width=100)
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text, "run with UPDATE_GOLDEN=1 and read the difference"


@pytest.mark.parametrize("name", BUNDLES)
def test_the_api_s_schemas_accept_them(name: str) -> None:
    for manifest in objects(BUNDLES[name]):
        for version in ("1.33", NEWEST):
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("name", BUNDLES)
def test_every_pod_is_restricted(name: str) -> None:
    for manifest in objects(BUNDLES[name]):
        if manifest["kind"] != "Job":
            continue
        pod = manifest["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["enableServiceLinks"] is False
        own = pod["containers"][0]["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["readOnlyRootFilesystem"] is True
        assert own["capabilities"] == {"drop": ["ALL"]}


def test_the_key_is_in_the_secret_and_nowhere_else() -> None:
    import base64

    made = BUNDLES["google-cloud-3-workers"]
    secret = next(m for m in made.owned if m["kind"] == "Secret")
    assert base64.b64decode(secret["data"]["tls.key"]) == b"the key"
    rest = yaml.safe_dump([m for m in objects(made) if m["kind"] != "Secret"])
    assert "the key" not in rest
    assert secret["data"]["tls.key"] not in rest
    assert "the key" not in repr(CERTIFICATES)


def test_one_worker_needs_nothing_but_the_chief_s_job_with_a_worker_s_resources() -> None:
    made = BUNDLES["one-worker"]
    assert made.owned == ()
    (container,) = containers(made)
    assert container["resources"]["limits"] == {"memory": "24Gi", "ephemeral-storage": "20Gi"}
    assert "TRAINING_TLS_DIR" not in {variable["name"] for variable in container["env"]}


def test_several_workers_without_certificates_are_refused() -> None:
    plan = make_plan(num_workers=2)
    spec = training_spec(plan, training_snapshot(plan), 1)
    with pytest.raises(ValueError, match="certificates"):
        training_bundle(spec, job_settings(plan, Purpose.TRAIN, 1), None)


@pytest.mark.parametrize("name", BUNDLES)
def test_the_spec_arrives_as_it_was(name: str) -> None:
    environment = {v["name"]: v.get("value") for v in containers(BUNDLES[name])[0]["env"]}
    if name == "evaluation":
        assert EvaluationSpec.from_json(environment["EVALUATION_SPEC"] or "").model_type == "tire_degradation"
    elif name.startswith("preflight"):
        assert ProbeSpec.from_json(environment["PROBE_SPEC"] or "").split == "preflight"
    else:
        spec = TrainingSpec.from_json(environment["TRAINING_SPEC"] or "")
        assert environment["TRAINING_JOB_ID"] == spec.job_id
        assert environment["TOTAL_WORKERS"] == str(spec.num_workers)


@pytest.mark.parametrize(("workers", "failed"), [(2, 0), (3, 1), (4, 1), (5, 2), (10, 4)])
def test_half_of_the_workers_lost_for_good_fail_the_job(workers: int, failed: int) -> None:
    plan = make_plan(num_workers=workers)
    job = worker_job(training_spec(plan, training_snapshot(plan), 1), job_settings(plan, Purpose.TRAIN, 1))
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == workers
    assert job["spec"]["maxFailedIndexes"] == failed


def test_workers_find_the_chief_by_a_name_that_its_certificate_has() -> None:
    plan = make_plan()
    made = job_settings(plan, Purpose.TRAIN, 1)
    job = worker_job(training_spec(plan, training_snapshot(plan), 1), made)
    variables = {v["name"]: v for v in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    host = variables["TRAINING_CHIEF_ADDRESS"]["value"].rpartition(":")[0]
    assert host in made.names.dns_names()
    index = variables["WORKER_INDEX"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert index == "metadata.annotations['batch.kubernetes.io/job-completion-index']"


@pytest.mark.parametrize(("evaluator", "account"), [("evaluator", "evaluator"), ("", "trainer")])
def test_only_evaluations_are_the_account_that_sees_test_rows(evaluator: str, account: str) -> None:
    plan = make_plan(replace(ON_GOOGLE_CLOUD, evaluator_service_account=evaluator))
    jobs = [o for o in (*objects(bundle(plan)), *objects(evaluation(plan))) if o["kind"] == "Job"]
    accounts = {
        j["metadata"]["labels"]["app.kubernetes.io/component"]: j["spec"]["template"]["spec"]["serviceAccountName"]
        for j in jobs
    }
    assert accounts == {"chief": "trainer", "worker": "trainer", "evaluate": account}


def test_another_spec_has_another_hash() -> None:
    plan = make_plan()
    hashes = {
        bundle(p).main["metadata"]["annotations"]["f1-training/spec-sha256"]
        for p in (plan, replace(plan, num_workers=3))
    }
    assert len(hashes) == 2


@pytest.mark.parametrize(("spot", "tolerates"), [("never", False), ("preferred", True), ("required", True)])
def test_workers_alone_go_to_spot_nodes(spot: str, tolerates: bool) -> None:
    jobs = [m for m in objects(bundle(make_plan(settings(worker_spot=spot)))) if m["kind"] == "Job"]
    chief, worker = (job["spec"]["template"]["spec"] for job in jobs)
    keys = [{t["key"] for t in pod["tolerations"]} for pod in (chief, worker)]
    assert ["cloud.google.com/gke-spot" in k for k in keys] == [False, tolerates]
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    terms = worker["affinity"]["nodeAffinity"].get(required, {}).get("nodeSelectorTerms", [])
    operators = {e["operator"] for term in terms for e in term["matchExpressions"]}
    assert operators == {"never": {"DoesNotExist"}, "preferred": set(), "required": {"Exists"}}[spot]
    (only,) = chief["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"]
    assert only["matchExpressions"][0]["operator"] == "DoesNotExist"


def test_workers_spread_over_nodes_apart_from_other_attempts() -> None:
    worker = next(m for m in objects(BUNDLES["google-cloud-3-workers"]) if m["metadata"]["name"].endswith("-work"))
    template = worker["spec"]["template"]
    (constraint,) = template["spec"]["topologySpreadConstraints"]
    labels = constraint["labelSelector"]["matchLabels"]
    assert labels.items() <= template["metadata"]["labels"].items()
    assert {"f1-training/job-id", "f1-training/attempt"} < set(labels)


@pytest.mark.parametrize("name", BUNDLES)
def test_nothing_of_a_node_is_taken_without_bounds(name: str) -> None:
    for container in containers(BUNDLES[name]):
        requests, limits = (container["resources"][k] for k in ("requests", "limits"))
        for what in ("memory", "ephemeral-storage"):
            assert requests[what] == limits[what]
        assert "cpu" in requests


@pytest.mark.parametrize("name", BUNDLES)
def test_a_job_ends_after_the_twelve_hours_at_which_people_are_warned(name: str) -> None:
    for manifest in objects(BUNDLES[name]):
        if manifest["kind"] == "Job":
            assert manifest["spec"]["activeDeadlineSeconds"] > 12 * 3600
