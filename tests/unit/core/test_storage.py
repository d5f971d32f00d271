"""Storage errors become reasons that decide a retry."""

import errno
from pathlib import Path

import pytest

from f1_training.core.storage import open_store, read_object, storage_errors
from trainer.contract import FailureReason, TrainingFailure


class HttpError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"HTTP {code}")
        self.code = code


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(errno.EACCES, "no"), FailureReason.PERMISSION_DENIED),
        (HttpError(403), FailureReason.PERMISSION_DENIED),
        (HttpError(429), FailureReason.NETWORK_TIMEOUT),
        (HttpError(503), FailureReason.NETWORK_TIMEOUT),
        (TimeoutError(), FailureReason.NETWORK_TIMEOUT),
        (ConnectionResetError(), FailureReason.NETWORK_TIMEOUT),
        (OSError(errno.ENOSPC, "full"), FailureReason.STORAGE_FULL),
    ],
)
def test_errors_become_reasons(error: Exception, reason: FailureReason) -> None:
    with pytest.raises(TrainingFailure, match="gs://b/x") as caught, storage_errors("gs://b/x"):
        raise error
    assert caught.value.reason is reason


def test_unknown_errors_pass_through() -> None:
    with pytest.raises(HttpError), storage_errors("gs://b/x"):
        raise HttpError(418)


def test_an_unknown_scheme_is_wrong_configuration() -> None:
    with pytest.raises(TrainingFailure, match="use gs:// or file://") as caught:
        open_store("nonsense://x")
    assert caught.value.reason is FailureReason.CONFIG_INVALID


def test_an_object_is_read_by_its_uri(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    assert read_object(f"file://{tmp_path}/a.json") == b"{}"
    with pytest.raises(TrainingFailure, match="reported as written, and is not there"):
        read_object(f"file://{tmp_path}/b.json")
