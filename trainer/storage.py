"""Object stores opened from URIs: what fails for the moment is tried again, and errors become reasons, at this edge."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from trainer.contract import FailureReason, ObjectStore, TrainingFailure

#: No operation on a bucket takes longer than this, whatever retries the client library does inside.
STORAGE_S = 600.0
T = TypeVar("T")
log = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
UNREACHABLE = (errno.EIO, errno.ESTALE, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
#: Errors of the libraries below gcsfs, by module: what they raise when the connection or a proxy fails has no code.
CLIENTS = ("aiohttp.client_exceptions", "requests.exceptions", "google.auth.exceptions")


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryBudget:
    """How often, and for how long in all, one call is tried. Pauses double, up to ``longest_pause_s``, with jitter.

    A call that was begun is not cut off: client libraries retry inside of it too (gcsfs: 6 requests in about 35 s). But
    none is begun after ``within_s``.
    """

    attempts: int = 5
    within_s: float = 60.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 15.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random

    def pause_s(self, attempt: int) -> float:
        """How long to wait after failed ``attempt`` (from 1): at least half of its step, so that it does back off."""
        step = min(self.first_pause_s * 2.0 ** (attempt - 1), self.longest_pause_s)
        return step * (0.5 + self.jitter() / 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryingFileSystem:
    """A file system whose calls are tried again while they fail for the moment (``NetworkTimeout``).

    Every call may be repeated: one that failed on its way back finds the object that it made, which a create-only
    write reports as ``FileExistsError``, and :class:`ObjectStore` compares the content.
    """

    filesystem: Any
    budget: RetryBudget = field(default_factory=RetryBudget)

    @property
    def protocol(self) -> Any:
        """The schemes that it serves."""
        return self.filesystem.protocol

    def cat_file(self, path: str) -> bytes:
        """The whole file."""
        return self._call(self.filesystem.cat_file, path)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> Any:
        """Write the whole file; ``create`` refuses one that is there."""
        return self._call(self.filesystem.pipe_file, path, value, mode=mode, **kwargs)

    def find(self, path: str) -> list[str]:
        """All files below a folder."""
        return self._call(self.filesystem.find, path)

    def exists(self, path: str) -> bool:
        """Whether it is there."""
        return self._call(self.filesystem.exists, path)

    def rm_file(self, path: str) -> Any:
        """Remove one file."""
        return self._call(self.filesystem.rm_file, path)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget listings."""
        self.filesystem.invalidate_cache(path)

    def _call(self, function: Callable[..., T], path: str, *arguments: Any, **options: Any) -> T:
        budget, began = self.budget, self.budget.clock()
        attempt = 0
        while True:
            attempt += 1
            try:
                return function(path, *arguments, **options)
            except Exception as e:
                if reason_of(e) is not FailureReason.NETWORK_TIMEOUT:
                    raise
                pause, spent = budget.pause_s(attempt), budget.clock() - began
                what = f"{self.filesystem.unstrip_protocol(path)}: {type(e).__name__}: {e}"
                if attempt >= budget.attempts or spent + pause > budget.within_s:
                    message = f"{what}; tried {attempt} times in {spent:.0f} s, the storage did not answer"
                    raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, message) from e
            log.warning("%s; trying again in %.1f s", what, pause)
            budget.sleep(pause)


def open_store(uri: str, budget: RetryBudget | None = None) -> ObjectStore:
    """The objects below ``uri`` (any fsspec URI), each call tried within ``budget``.

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
    retrying = RetryingFileSystem(filesystem=filesystem, budget=budget or RetryBudget())
    return ObjectStore(filesystem=retrying, root=root, uri=uri)


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

    HTTP errors of Cloud Storage carry a ``code`` (gcsfs ``HttpError``), files an ``errno``; gcsfs makes a plain
    ``OSError`` of a 403, and a proxy's error of ``requests`` of a 502.
    """
    code = getattr(error, "code", None)
    number = getattr(error, "errno", None)
    denied = code in (401, 403) or number in DENIED or isinstance(error, PermissionError)
    if denied or _is_forbidden(error) or _is_auth_error(error):
        return FailureReason.PERMISSION_DENIED
    if number in FULL:
        return FailureReason.STORAGE_FULL
    transient = isinstance(code, int) and (code in (408, 429) or 500 <= code < 600)
    unreachable = number in UNREACHABLE or isinstance(error, (TimeoutError, ConnectionError))
    if transient or unreachable or _is_connection_error(error):
        return FailureReason.NETWORK_TIMEOUT
    return None


def _is_forbidden(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno is None and str(error).startswith("Forbidden: ")


def _is_auth_error(error: BaseException) -> bool:
    # By name: google.auth is there only when a gs:// URI was opened.
    return type(error).__module__.startswith("google.auth") and type(error).__name__ != "TransportError"


def _is_connection_error(error: BaseException) -> bool:
    # A URL that makes no sense is a ValueError there, and stays wrong however often it is tried.
    return type(error).__module__ in CLIENTS and not isinstance(error, ValueError)
