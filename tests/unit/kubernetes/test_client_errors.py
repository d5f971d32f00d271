"""What the Kubernetes client raises becomes a reason, with the API's own message and a fix."""

import json

import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import MaxRetryError

from f1_training.kubernetes.client import kubernetes_errors
from trainer.contract import FailureReason, TrainingFailure


def api_error(status: int, message: str = "because") -> ApiException:
    error = ApiException(status=status, reason="reason")
    error.body = json.dumps({"message": message})
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (api_error(403), FailureReason.PERMISSION_DENIED),
        (api_error(401), FailureReason.PERMISSION_DENIED),
        (api_error(403, "exceeded quota: pods"), FailureReason.RESOURCE_EXHAUSTED),
        (api_error(429), FailureReason.NETWORK_TIMEOUT),
        (api_error(503), FailureReason.NETWORK_TIMEOUT),
        (api_error(0), FailureReason.NETWORK_TIMEOUT),
        (api_error(422), FailureReason.CONFIG_INVALID),
        (api_error(404), FailureReason.CONFIG_INVALID),
        (MaxRetryError(None, "/api", None), FailureReason.NETWORK_TIMEOUT),
        (TimeoutError(), FailureReason.NETWORK_TIMEOUT),
        (ConfigException("no file"), FailureReason.CONFIG_INVALID),
    ],
)
def test_errors_become_reasons(error: Exception, reason: FailureReason) -> None:
    with pytest.raises(TrainingFailure, match="^Job x: ") as caught, kubernetes_errors("Job x"):
        raise error
    assert caught.value.reason is reason


def test_the_api_s_own_message_is_told() -> None:
    with pytest.raises(TrainingFailure, match="Kubernetes answered 422: spec is wrong"), kubernetes_errors("Job x"):
        raise api_error(422, "spec is wrong")


def test_credentials_that_expired_are_told_from_missing_rights() -> None:
    expired = "Unauthorized; the credentials .* are wrong or have expired"
    with pytest.raises(TrainingFailure, match=expired), kubernetes_errors("Job x"):
        raise api_error(401, "Unauthorized")
    with pytest.raises(TrainingFailure, match="Airflow's account needs"), kubernetes_errors("Job x"):
        raise api_error(403)


def test_an_answer_that_is_no_json_is_told_by_its_status() -> None:
    with pytest.raises(TrainingFailure, match="Kubernetes answered 502: Bad Gateway"), kubernetes_errors("Job x"):
        raise ApiException(status=502, reason="Bad Gateway")


def test_the_unknown_passes_through() -> None:
    with pytest.raises(ZeroDivisionError), kubernetes_errors("Job x"):
        raise ZeroDivisionError
