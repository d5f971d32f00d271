"""The deployment's settings are read strictly, and what is wrong is named with the fix."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from f1_training.core.settings import EXAMPLE, VARIABLE, read_settings
from tests.fakes.run_plan import settings
from trainer.contract import FailureReason, TrainingFailure

REPOSITORY = Path(__file__).parents[3]
URIS = {"checkpoints": "gs://c", "artifacts": "gs://a", "models": "gs://m"}
LEAST = {"project": "my-project", "image": "image:1", "uris": URIS}
VERTEX = {"region": "europe-west4", "serving_image": "serving:1"}


def test_the_least_that_is_needed_has_the_documented_defaults() -> None:
    read = read_settings(LEAST)
    assert (read.namespace, read.gcp_conn_id, read.kubernetes_conn_id) == (
        "f1-training",
        "google_cloud_default",
        "kubernetes_default",
    )
    assert read.image_for_evaluation() == "image:1"
    assert (read.datasets.strategy, read.datasets.staging, read.datasets.evaluation) == (
        "f1_strategy",
        "f1_staging",
        "f1_evaluation",
    )


def test_the_example_in_the_error_message_is_valid() -> None:
    assert read_settings(json.loads(EXAMPLE)).project == "my-project"


def test_another_image_for_evaluation() -> None:
    assert settings(evaluator_image="other:1").image_for_evaluation() == "other:1"


def test_a_missing_variable_is_named_with_an_example() -> None:
    with pytest.raises(TrainingFailure, match=f"'{VARIABLE}' does not exist.*my-project") as caught:
        read_settings(None)
    assert caught.value.reason is FailureReason.CONFIG_INVALID


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"project": "No Project"}, "project: is 'No Project'"),
        ({"project": 3}, "project: must be str"),
        ({"image": ""}, "image: is empty"),
        ({"alerts": {"routes": {"nobody": []}}}, "alerts.routes: names nobody; teams are on-call, ml, data, owners"),
        ({"alerts": {"routes": {"data": [{"kind": "fax", "conn_id": "x"}]}}}, "alerts.routes.data"),
        ({"alerts": {"routes": {"data": [{"kind": "email", "conn_id": "x"}]}}}, "needed there: a list of addresses"),
        ({"image": "region-docker.pkg.dev/p/f1/training-worker"}, "another image tomorrow; give its digest"),
        ({"image": "region-docker.pkg.dev/p/f1/training-worker:latest"}, "another image tomorrow"),
        ({"image": "registry:5000/training-worker"}, "another image tomorrow"),
        ({"image": "name@sha256:abc"}, "a digest is sha256: and 64"),
        ({"image": "training-worker:0.1.0@"}, "a digest is sha256: and 64"),
        ({"image": "training-worker:0.1.0@sha256:" + "0A" * 32}, "a digest is sha256: and 64"),
        ({"image": "https://region-docker.pkg.dev/p/f1/training-worker:0.1.0"}, "expected an address such as"),
        ({"image": "region-docker.pkg.dev/P/f1/training-worker:0.1.0"}, "expected an address such as"),
        ({"image": "training-worker:0.1.0 "}, "expected an address such as"),
        ({"image": "training-worker:"}, "expected an address such as"),
        ({"evaluator_image": "evaluator:latest"}, "evaluator_image: is 'evaluator:latest'"),
        ({"uris": {**URIS, "models": "/folder"}}, "uris.models: is '/folder'"),
        ({"uris": {"models": "gs://m"}}, "uris.checkpoints: is missing"),
        ({"namespace": "F1"}, "namespace: is 'F1'"),
        ({"namespace": ""}, "namespace: is ''"),
        ({"pod_environment": {"1X": "y"}}, "pod_environment: '1X' names no variable"),
        ({"pod_environment": {"X": 1}}, "pod_environment.X: must be str"),
        ({"poll_interval_s": 0}, "poll_interval_s: is 0"),
        ({"threads": 0}, "threads: is 0"),
        ({"checkpoints_kept": 0}, "checkpoints_kept: is 0"),
        ({"maximum_bytes_billed": 0}, "maximum_bytes_billed: is 0"),
        ({"datasets": {"staging": "a.b"}}, "datasets.staging: is 'a.b'"),
        ({"datasets": {"staging": "f1_strategy"}}, "datasets.staging: the datasets must differ"),
        ({"vertex": {"region": "Europe"}}, "vertex.region: is 'Europe'; a region"),
        ({"vertex": {"region": "europe-west4"}}, "vertex.serving_image: is empty; the address of an image"),
        ({"vertex": {"serving_image": "serving:1"}}, "vertex.serving_image: is given without region"),
        ({"vertex": {"endpoints": {"tire_degradation": "tires"}}}, "vertex.endpoints: is given without region"),
        ({"vertex": {**VERTEX, "serving_image": "serving:latest"}}, "vertex.serving_image: is 'serving:latest'"),
        ({"vertex": {**VERTEX, "endpoints": {"a": "1x"}}}, "vertex.endpoints.a: is '1x'"),
        ({"vertex": {**VERTEX, "endpoints": {"a": "x", "b": "x"}}}, "vertex.endpoints: names an endpoint twice"),
        ({"vertex": {**VERTEX, "machine_type": "large"}}, "vertex.machine_type: is 'large'; such as n1-standard-2"),
        ({"vertex": {**VERTEX, "min_replicas": 0}}, "vertex.min_replicas: is 0; 1 or more"),
        ({"vertex": {**VERTEX, "min_replicas": 2}}, "vertex.max_replicas: is 1; min_replicas (2) or more"),
        ({"vertex": {**VERTEX, "traffic_percent": 0}}, "vertex.traffic_percent: is 0; 1 to 100"),
        ({"vertex": {**VERTEX, "traffic_percent": 101}}, "vertex.traffic_percent: is 101; 1 to 100"),
        ({"vertex": {**VERTEX, "service_account": "serve"}}, "vertex.service_account: is 'serve'; a service account's"),
        ({"vertex": {**VERTEX, "upload_within_s": 0}}, "vertex.upload_within_s: is 0"),
        ({"vertex": {**VERTEX, "deploy_within_s": -1}}, "vertex.deploy_within_s: is -1"),
        ({"vertex": VERTEX, "uris": {**URIS, "models": "file:///m"}}, "uris.models: is 'file:///m'; Vertex AI (vertex"),
        ({"colour": "red"}, "colour: is unknown"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(TrainingFailure) as caught:
        read_settings({**LEAST, **change})
    assert named in str(caught.value)
    assert VARIABLE in str(caught.value)
    assert caught.value.reason is FailureReason.CONFIG_INVALID


def test_the_documented_section_of_vertex_ai_is_valid() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", (REPOSITORY / "docs" / "vertex.md").read_text(), re.DOTALL)
    read = settings(**json.loads(shown))
    assert (read.vertex.region, read.vertex.traffic_percent) == ("europe-west4", 10)


@pytest.mark.parametrize("section", [{}, {"vertex": {}}])
def test_vertex_ai_is_off_unless_asked_for(section: dict[str, Any]) -> None:
    assert (settings(**section).vertex.region, settings(**section).vertex.endpoints) == ("", {})


def test_vertex_ai_s_section_has_the_documented_defaults() -> None:
    read = settings(vertex=VERTEX).vertex
    assert (read.machine_type, read.min_replicas, read.max_replicas, read.traffic_percent) == (
        "n1-standard-2",
        1,
        1,
        100,
    )


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(TrainingFailure, match="must be an object"):
        read_settings("text")


@pytest.mark.parametrize("name", ["chief_node_selector", "worker_node_selector"])
def test_spot_nodes_are_asked_for_in_one_place_only(name: str) -> None:
    with pytest.raises(TrainingFailure, match="worker_spot"):
        settings(**{name: {"cloud.google.com/gke-spot": "true"}})


@pytest.mark.parametrize(
    "image",
    [
        "region-docker.pkg.dev/p/f1/training-worker@sha256:" + "0a" * 32,
        "region-docker.pkg.dev/p/f1/training-worker:0.1.0@sha256:" + "0a" * 32,
        "registry:5000/training-worker:0.1.0",
        "training-worker:latest-but-one",
        "training-worker:latest@sha256:" + "0a" * 32,
        "f1-training/training-worker:local",
    ],
)
def test_images_that_stay_the_same_are_taken(image: str) -> None:
    assert settings(image=image).image == image
