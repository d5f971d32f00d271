"""Google's real clients, connected to a server that speaks Vertex AI's API.

Importing Google's messages takes seconds: it is left to the tests that need them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from f1_training.core.settings import Settings
from f1_training.vertex.client import VertexClient
from tests.fakes.run_plan import settings

if TYPE_CHECKING:
    from tests.fakes.vertex import VertexServer

SECTION = {"region": "europe-west4", "serving_image": "europe-west4-docker.pkg.dev/p/f1/serving:0.1.0"}


def deployed(models_kept: int = 5, **section: Any) -> Settings:
    """A deployment that uses Vertex AI."""
    vertex = {**SECTION, "upload_within_s": 5.0, "deploy_within_s": 5.0, **section}
    return settings(models_kept=models_kept, vertex=vertex)


@pytest.fixture
def server() -> Iterator[VertexServer]:
    from tests.fakes import vertex

    with vertex.running() as state:
        yield state


@pytest.fixture
def connect(server: VertexServer) -> Iterator[Callable[[Settings], VertexClient]]:
    """A client of the server, as :meth:`VertexClient.connect` would make it."""
    from google.cloud.aiplatform_v1 import EndpointServiceClient, ModelServiceClient
    from google.cloud.aiplatform_v1.services.endpoint_service.transports import EndpointServiceGrpcTransport
    from google.cloud.aiplatform_v1.services.model_service.transports import ModelServiceGrpcTransport

    channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")

    def connected(of: Settings) -> VertexClient:
        models = ModelServiceClient(transport=ModelServiceGrpcTransport(channel=channel))
        endpoints = EndpointServiceClient(transport=EndpointServiceGrpcTransport(channel=channel))
        return VertexClient(models, endpoints, of, look_s=0.01)

    yield connected
    channel.close()
