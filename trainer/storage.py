"""Object stores opened from URIs, and their errors translated once, at this edge, into reasons that decide a retry."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from trainer.contract import FailureReason, ObjectStore, TrainingFailure

#: No operation on a bucket takes longer than this, whatever retries the client library does inside.
STORAGE_S = 600.0
T = TypeVar("T")

FULL = (errno.ENOSPC, errno.EDQUOT)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
UNREACHABLE = (errno.EIO, errno.ESTALE, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)


def open_store(uri: str) -> ObjectStore:
    """The objects below ``uri`` (any fsspec URI).

    Raises:
        TrainingFailure: ``ConfigInvalid`` when no file system serves the URI's scheme.
    """
    from fsspec.core import url_to_fs  # importing fsspec takes a while, and unit tests do without

    with storage_errors(uri):
        try:
            filesystem, root = url_to_fs(uri)
        except (ValueError, ImportError) as e:
            message = f"{uri}: no file system serves this URI ({e}); use gs:// or file://"
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e
    return ObjectStore(filesystem=filesystem, root=root, uri=uri)


async def in_thread(function: Callable[..., T], *arguments: Any, uri: str, within_s: float = STORAGE_S) -> T:
    """The result of ``function(*arguments)``, which reads or writes ``uri``, without blocking the event loop.

    Raises:
        TrainingFailure: ``NetworkTimeout`` when it takes longer than ``within_s`` (its thread is left behind).
    """
    try:
        return await asyncio.wait_for(asyncio.to_thread(function, *arguments), within_s)
    except TimeoutError as e:
        message = f"{uri}: the storage did not answer within {within_s:.0f} s"
        raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, message) from e


@contextlib.contextmanager
def storage_errors(uri: str) -> Iterator[None]:
    """Turn what a file system raises about ``uri`` into :class:`TrainingFailure`; what is not known passes through."""
    try:
        yield
    except TrainingFailure:
        raise
    except Exception as e:
        reason = reason_of(e)
        if reason is None:
            raise
        raise TrainingFailure(reason, f"{uri}: {type(e).__name__}: {e}{_FIXES[reason]}") from e


_FIXES = {
    FailureReason.STORAGE_FULL: "; free space there, or write elsewhere",
    FailureReason.PERMISSION_DENIED: "; let the pod's service account create, read and list objects there",
    FailureReason.NETWORK_TIMEOUT: "; the storage did not answer, try again later",
}


def reason_of(error: BaseException) -> FailureReason | None:
    """Why ``error`` stops a job, or None when it is no storage error that is known.

    HTTP errors of Cloud Storage carry a ``code`` (gcsfs ``HttpError``), files an ``errno``.
    """
    code = getattr(error, "code", None)
    number = getattr(error, "errno", None)
    if code in (401, 403) or number in DENIED or isinstance(error, PermissionError) or _is_auth_error(error):
        return FailureReason.PERMISSION_DENIED
    if number in FULL:
        return FailureReason.STORAGE_FULL
    transient = isinstance(code, int) and (code in (408, 429) or 500 <= code < 600)
    if transient or number in UNREACHABLE or isinstance(error, (TimeoutError, ConnectionError)):
        return FailureReason.NETWORK_TIMEOUT
    return None


def _is_auth_error(error: BaseException) -> bool:
    # By name: google.auth is there only when a gs:// URI was opened.
    return type(error).__module__.startswith("google.auth") and type(error).__name__ != "TransportError"
