"""A champion is deployed once, shares the requests as told, and what gets none is taken away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from f1_training.core.settings import Settings
from f1_training.vertex.client import VertexClient
from f1_training.vertex.endpoints import VertexEndpoints
from f1_training.vertex.models import VertexModels
from f1_training.vertex.resources import ModelVersion
from tests.unit.vertex.conftest import deployed
from tests.unit.vertex.test_models import FIRST, SECOND
from trainer.contract import FailureReason, TrainingFailure

if TYPE_CHECKING:
    from tests.fakes.vertex import VertexServer

Code = grpc.StatusCode
NAME = "f1-tire-degradation"
ENDPOINT = f"projects/f1-project/locations/europe-west4/endpoints/{NAME}"
THIRD = replace(FIRST, version="20260301-000000-cccccc")


@pytest.fixture
def make(connect: Callable[[Settings], VertexClient]) -> Callable[..., VertexEndpoints]:
    def made(**section: Any) -> VertexEndpoints:
        settings = deployed(**section)
        return VertexEndpoints(connect(settings), settings.vertex)

    return made


@pytest.fixture
def versions(connect: Callable[[Settings], VertexClient]) -> list[ModelVersion]:
    settings = deployed()
    models = VertexModels(connect(settings), settings.vertex)
    return [models.ensure(spec) for spec in (FIRST, SECOND, THIRD)]


def served(server: VertexServer) -> dict[str, int]:
    """Vertex's number of each version that is deployed, and its share."""
    endpoint = server.endpoints[ENDPOINT]
    return {d.model_version_id: endpoint.traffic_split.get(d.id, 0) for d in endpoint.deployed_models}


def test_the_first_deployment_makes_the_endpoint(
    server: VertexServer, make: Callable[..., VertexEndpoints], versions: list[ModelVersion]
) -> None:
    endpoints = make(
        machine_type="n1-standard-4", min_replicas=2, max_replicas=3, service_account="serve@p.iam.gserviceaccount.com"
    )
    deployment = endpoints.deploy(versions[0], NAME, 10)
    assert deployment.endpoint == ENDPOINT
    # It is alone, so a share would leave the rest to nobody.
    assert dict(deployment.traffic) == {deployment.deployed: 100}
    endpoint = server.endpoints[ENDPOINT]
    assert (endpoint.display_name, dict(endpoint.labels)) == (NAME, {"f1-training-model": "tire_degradation"})
    (made,) = endpoint.deployed_models
    resources = made.dedicated_resources
    assert (resources.machine_spec.machine_type, resources.min_replica_count, resources.max_replica_count) == (
        "n1-standard-4", 2, 3,
    )  # fmt: skip
    assert made.service_account == "serve@p.iam.gserviceaccount.com"
    assert made.display_name == f"tire_degradation {FIRST.version}"


def test_a_new_version_gets_its_share_and_the_one_before_the_rest(
    server: VertexServer, make: Callable[..., VertexEndpoints], versions: list[ModelVersion]
) -> None:
    endpoints = make()
    for version in versions[:2]:
        endpoints.deploy(version, NAME, 10)
    assert served(server) == {"1": 90, "2": 10}
    endpoints.deploy(versions[2], NAME, 20)
    # The candidate before gets nothing, and is gone.
    assert served(server) == {"1": 80, "3": 20}


def test_with_all_requests_for_the_new_version_the_one_before_is_taken_away(
    server: VertexServer, make: Callable[..., VertexEndpoints], versions: list[ModelVersion]
) -> None:
    endpoints = make()
    for version in versions[:2]:
        endpoints.deploy(version, NAME, 100)
    assert served(server) == {"2": 100}


def test_deploying_again_changes_nothing(
    server: VertexServer, make: Callable[..., VertexEndpoints], versions: list[ModelVersion]
) -> None:
    endpoints = make()
    endpoints.deploy(versions[0], NAME, 100)
    first = endpoints.deploy(versions[1], NAME, 10)
    asked = len(server.asked)
    assert endpoints.deploy(versions[1], NAME, 10) == first
    assert {method for method, _ in server.asked[asked:]} == {"ListEndpoints", "ListOperations", "GetEndpoint"}


def test_a_deployed_version_gets_a_larger_share(
    server: VertexServer, make: Callable[..., VertexEndpoints], versions: list[ModelVersion]
) -> None:
    endpoints = make()
    for version in versions[:2]:
        endpoints.deploy(version, NAME, 10)
    endpoints.deploy(versions[1], NAME, 100)
    assert served(server) == {"2": 100}
    assert len(server.calls("DeployModel")) == 2


def test_a_rollback_takes_all_requests_back(
    server: VertexServer, make: Callable[..., VertexEndpoints], versions: list[ModelVersion]
) -> None:
    endpoints = make()
    for version in versions[:2]:
        endpoints.deploy(version, NAME, 100)
    endpoints.deploy(versions[0], NAME, 100)
    assert served(server) == {"1": 100}


@pytest.mark.parametrize("looks", [0, 4])
@pytest.mark.parametrize("lost", ["CreateEndpoint", "DeployModel", "UndeployModel", "UpdateEndpoint"])
def test_a_lost_answer_deploys_nothing_twice(
    server: VertexServer,
    make: Callable[..., VertexEndpoints],
    versions: list[ModelVersion],
    lost: str,
    looks: int,
) -> None:
    endpoints = make()
    server.looks = looks
    steps = [(versions[0], 100), (versions[1], 10), (versions[1], 100)]
    server.fail(lost, Code.UNAVAILABLE, "connection reset", after=True)
    reasons = []
    for version, percent in steps:
        try:
            endpoints.deploy(version, NAME, percent)
        except TrainingFailure as e:
            reasons.append(e.reason)
            endpoints.deploy(version, NAME, percent)
    assert reasons == [FailureReason.NETWORK_TIMEOUT]
    assert served(server) == {"2": 100}
    assert len(server.calls("DeployModel")) == 2
    assert list(server.endpoints) == [ENDPOINT]


def test_a_deployment_has_a_deadline(
    server: VertexServer, make: Callable[..., VertexEndpoints], versions: list[ModelVersion]
) -> None:
    make().deploy(versions[0], NAME, 100)
    server.looks = 1_000
    hasty = make(deploy_within_s=0.1)
    with pytest.raises(TrainingFailure, match="deployment of .*@2 to .* 0.1 seconds") as caught:
        hasty.deploy(versions[1], NAME, 100)
    assert caught.value.reason is FailureReason.NETWORK_TIMEOUT
    with pytest.raises(TrainingFailure, match="still runs after 0 s"):
        hasty.deploy(versions[1], NAME, 100)
    assert served(server) == {"1": 100}


@pytest.mark.parametrize(
    ("code", "reason", "fix"),
    [
        (Code.RESOURCE_EXHAUSTED, FailureReason.RESOURCE_EXHAUSTED, "raise Vertex AI's quota of vertex.region"),
        (Code.PERMISSION_DENIED, FailureReason.PERMISSION_DENIED, "serviceAccountUser on vertex.service_account"),
        (Code.FAILED_PRECONDITION, FailureReason.CONFIG_INVALID, "correct the section vertex"),
    ],
)
def test_what_is_refused_leaves_the_one_before(
    server: VertexServer,
    make: Callable[..., VertexEndpoints],
    versions: list[ModelVersion],
    code: grpc.StatusCode,
    reason: FailureReason,
    fix: str,
) -> None:
    make().deploy(versions[0], NAME, 100)
    server.failing["DeployModel"] = (code, "Model server never became ready")
    with pytest.raises(TrainingFailure, match=f"^deployment of .*@2 to .*: Model server never .*{fix}") as caught:
        make().deploy(versions[1], NAME, 100)
    assert caught.value.reason is reason
    assert served(server) == {"1": 100}


def test_an_endpoint_of_another_model_is_left_alone(
    server: VertexServer,
    make: Callable[..., VertexEndpoints],
    versions: list[ModelVersion],
    connect: Callable[[Settings], VertexClient],
) -> None:
    make().deploy(versions[0], NAME, 100)
    settings = deployed()
    other = VertexModels(connect(settings), settings.vertex).ensure(replace(FIRST, model_type="fuel_consumption"))
    with pytest.raises(TrainingFailure, match="serves .*f1-tire_degradation, .* give the model an endpoint of its own"):
        make().deploy(other, NAME, 100)
    assert served(server) == {"1": 100}


def test_an_endpoint_that_a_person_made_is_taken_by_its_name(
    server: VertexServer, make: Callable[..., VertexEndpoints], versions: list[ModelVersion]
) -> None:
    make().deploy(versions[0], NAME, 100)
    theirs = ENDPOINT.replace(NAME, "1234567890")
    server.endpoints[theirs] = server.endpoints.pop(ENDPOINT)
    server.endpoints[theirs].name = theirs
    assert make().deploy(versions[1], NAME, 100).endpoint == theirs
    assert list(server.endpoints) == [theirs]


def test_two_endpoints_of_one_name_are_refused(
    server: VertexServer, make: Callable[..., VertexEndpoints], versions: list[ModelVersion]
) -> None:
    make().deploy(versions[0], NAME, 100)
    first = server.endpoints[ENDPOINT]
    server.endpoints[f"{ENDPOINT}-2"] = type(first)(first, name=f"{ENDPOINT}-2")
    with pytest.raises(TrainingFailure, match="are both named f1-tire-degradation; rename all but one"):
        make().deploy(versions[1], NAME, 100)


def test_what_somebody_changes_at_the_same_time_is_not_overwritten(
    server: VertexServer, make: Callable[..., VertexEndpoints], versions: list[ModelVersion]
) -> None:
    endpoints = make()
    for version in versions[:2]:
        endpoints.deploy(version, NAME, 10)
    server.fail("UpdateEndpoint", Code.ABORTED, "the endpoint has changed")
    with pytest.raises(TrainingFailure, match="somebody else changed it") as caught:
        endpoints.deploy(versions[1], NAME, 100)
    assert caught.value.reason is FailureReason.NETWORK_TIMEOUT
    assert served(server) == {"1": 90, "2": 10}
