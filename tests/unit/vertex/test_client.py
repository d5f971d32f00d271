"""The clients that a deployment gets: of its region, through its Airflow connection."""

import json

import pytest
from google.auth.exceptions import DefaultCredentialsError, TransportError

from f1_training.vertex.client import VertexClient, vertex_errors
from tests.unit.vertex.conftest import deployed
from trainer.contract import FailureReason, TrainingFailure


def test_the_region_s_address_is_asked_with_the_connection_s_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "google_cloud_platform", "extra": {"project": "f1-project", "is_anonymous": True}}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(connection))
    client = VertexClient.connect(deployed())
    assert client.location == "projects/f1-project/locations/europe-west4"
    addresses = {google.api_endpoint for google in (client._models, client._endpoints)}
    assert addresses == {"europe-west4-aiplatform.googleapis.com:443"}


@pytest.mark.parametrize(
    ("error", "reason", "fix"),
    [
        (DefaultCredentialsError("none"), FailureReason.PERMISSION_DENIED, "credentials that work"),
        (TransportError("reset"), FailureReason.NETWORK_TIMEOUT, "does not answer: reset"),
        (TimeoutError("slow"), FailureReason.NETWORK_TIMEOUT, "does not answer: slow"),
    ],
)
def test_what_keeps_a_request_from_being_sent_becomes_a_reason(
    error: Exception, reason: FailureReason, fix: str
) -> None:
    with pytest.raises(TrainingFailure, match=f"^the thing: .*{fix}") as caught, vertex_errors("the thing"):
        raise error
    assert caught.value.reason is reason


def test_the_unknown_passes_through() -> None:
    with pytest.raises(ZeroDivisionError), vertex_errors("the thing"):
        raise ZeroDivisionError
