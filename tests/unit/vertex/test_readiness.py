"""Before the first run: what Vertex AI has is told, what would stop an upload or a deployment is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc
import pytest

from f1_training.core.settings import Settings
from f1_training.vertex.client import VertexClient
from f1_training.vertex.endpoints import VertexEndpoints
from f1_training.vertex.models import VersionSpec, VertexModels
from f1_training.vertex.readiness import readiness
from tests.unit.vertex.conftest import deployed
from trainer.contract import FailureReason, TrainingFailure

if TYPE_CHECKING:
    from tests.fakes.vertex import VertexServer

MODEL, ENDPOINT = "tire_degradation", "f1-tire-degradation"
Connect = Callable[[Settings], VertexClient]


def uploaded(client: VertexClient, of: Settings, model_type: str) -> None:
    spec = VersionSpec(
        model_type=model_type,
        version="20260101-000000-aaaaaa",
        engine="xgboost",
        description="",
        about="",
        artifact_uri=f"gs://models/{model_type}/20260101-000000-aaaaaa",
    )
    version = VertexModels(client, of.vertex).ensure(spec)
    VertexEndpoints(client, of.vertex).deploy(version, ENDPOINT, 100)


def test_what_is_missing_is_made_by_the_first_run_and_nothing_before(server: VertexServer, connect: Connect) -> None:
    of = deployed(endpoints={MODEL: ENDPOINT})
    assert readiness(connect(of), of.vertex, MODEL) == (
        "tire_degradation has no version yet, endpoint f1-tire-degradation is made by the first deployment; "
        "in europe-west4, serving image by a tag, which may be moved"
    )
    assert {method for method, _ in server.asked} == {"ListModels", "ListEndpoints"}


def test_what_is_there_is_told(connect: Connect) -> None:
    of = deployed(endpoints={MODEL: ENDPOINT})
    uploaded(connect(of), of, MODEL)
    found = readiness(connect(of), of.vertex, "fuel_consumption")
    assert "fuel_consumption has no version yet, without an endpoint; " in found
    assert "tire_degradation is f1-tire_degradation, endpoint f1-tire-degradation serves 1 of its versions" in found


def test_an_endpoint_of_another_model_is_refused(connect: Connect) -> None:
    of = deployed(endpoints={MODEL: ENDPOINT})
    uploaded(connect(of), of, "fuel_consumption")
    with pytest.raises(TrainingFailure, match="serves .*f1-fuel_consumption, which is not a Model of tire_") as caught:
        readiness(connect(of), of.vertex, MODEL)
    assert caught.value.reason is FailureReason.CONFIG_INVALID


@pytest.mark.parametrize("method", ["ListModels", "ListEndpoints"])
def test_who_may_not_list_is_told_the_role(server: VertexServer, connect: Connect, method: str) -> None:
    of = deployed(endpoints={MODEL: ENDPOINT})
    server.fail(method, grpc.StatusCode.PERMISSION_DENIED)
    with pytest.raises(TrainingFailure, match="roles/aiplatform.user") as caught:
        readiness(connect(of), of.vertex, MODEL)
    assert caught.value.reason is FailureReason.PERMISSION_DENIED
