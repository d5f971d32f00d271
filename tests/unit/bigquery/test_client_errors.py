"""What Google's client raises becomes a reason, with a fix."""

from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, TransportError
from requests.exceptions import ConnectionError as RequestsConnectionError

from f1_training.bigquery.client import bigquery_errors
from trainer.contract import FailureReason, TrainingFailure


def with_reason(kind: Any, reason: str) -> Exception:
    error: Exception = kind("because", errors=[{"reason": reason, "message": "because"}])
    return error


@pytest.mark.parametrize(
    ("error", "reason", "fix"),
    [
        (exceptions.Forbidden("no"), FailureReason.PERMISSION_DENIED, "bigquery.jobUser"),
        (with_reason(exceptions.Forbidden, "quotaExceeded"), FailureReason.RESOURCE_EXHAUSTED, "quota"),
        (with_reason(exceptions.BadRequest, "bytesBilledLimitExceeded"), FailureReason.CONFIG_INVALID, "maximum_bytes"),
        (exceptions.NotFound("no table"), FailureReason.CONFIG_INVALID, "the right split"),
        (exceptions.BadRequest("Unrecognized name"), FailureReason.CONFIG_INVALID, "columns"),
        (exceptions.TooManyRequests("slow"), FailureReason.RESOURCE_EXHAUSTED, "quota"),
        (exceptions.ServiceUnavailable("later"), FailureReason.NETWORK_TIMEOUT, "later"),
        (exceptions.RetryError("gave up", cause=None), FailureReason.NETWORK_TIMEOUT, "does not answer"),
        (RequestsConnectionError("refused"), FailureReason.NETWORK_TIMEOUT, "refused"),
        (TransportError("reset"), FailureReason.NETWORK_TIMEOUT, "reset"),
        (TimeoutError("slow"), FailureReason.NETWORK_TIMEOUT, "slow"),
        (DefaultCredentialsError("none"), FailureReason.PERMISSION_DENIED, "credentials that work"),
    ],
)
def test_errors_become_reasons(error: Exception, reason: FailureReason, fix: str) -> None:
    with pytest.raises(TrainingFailure, match=f"^p.d.t: .*{fix}") as caught, bigquery_errors("p.d.t"):
        raise error
    assert caught.value.reason is reason


def test_the_unknown_passes_through() -> None:
    with pytest.raises(ZeroDivisionError), bigquery_errors("p.d.t"):
        raise ZeroDivisionError
