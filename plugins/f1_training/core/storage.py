"""Object stores opened from URIs, their errors turned into reasons."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from trainer.contract import FailureReason, ObjectStore, TrainingFailure

DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
FULL = (errno.ENOSPC, errno.EDQUOT)


def open_store(uri: str) -> ObjectStore:
    """The objects below ``uri`` (any fsspec URI, with the environment's own credentials).

    Raises:
        TrainingFailure: ``ConfigInvalid`` when no file system serves the URI's scheme.
    """
    from fsspec.core import url_to_fs  # not at module level: a DAG file must not pay for it

    try:
        filesystem, root = url_to_fs(uri)
    except (ValueError, ImportError) as e:
        message = f"{uri}: no file system serves this URI ({e}); use gs:// or file://"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e
    return ObjectStore(filesystem=filesystem, root=root, uri=uri)


def read_object(uri: str) -> bytes:
    """The object at ``uri``.

    Raises:
        TrainingFailure: what the storage refused; ``Bug`` when a document that a pod reported is not there.
    """
    folder, _, name = uri.rpartition("/")
    with storage_errors(uri):
        try:
            return open_store(folder).read(name)
        except FileNotFoundError as e:
            raise TrainingFailure(FailureReason.BUG, f"{uri} was reported as written, and is not there") from e


@contextlib.contextmanager
def storage_errors(uri: str) -> Iterator[None]:
    """Turn what a file system raises about ``uri`` into :class:`TrainingFailure`; the unknown passes through."""
    try:
        yield
    except TrainingFailure:
        raise
    except Exception as e:
        reason = _reason(e)
        if reason is None:
            raise
        raise TrainingFailure(reason, f"{uri}: {type(e).__name__}: {e}") from e


def _reason(error: BaseException) -> FailureReason | None:
    code, number = getattr(error, "code", None), getattr(error, "errno", None)
    if code in (401, 403) or number in DENIED:
        return FailureReason.PERMISSION_DENIED
    if number in FULL:
        return FailureReason.STORAGE_FULL
    transient = isinstance(code, int) and (code in (408, 429) or 500 <= code < 600)
    if transient or isinstance(error, (TimeoutError, ConnectionError)):
        return FailureReason.NETWORK_TIMEOUT
    return None
