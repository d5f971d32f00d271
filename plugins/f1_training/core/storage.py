"""Object stores opened from URIs, their errors turned into reasons, and old checkpoints removed from them."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Iterator
from typing import TypeVar

from f1_training.core.retention import removable
from trainer.contract import ContractError, FailureReason, Manifest, ObjectStore, TrainingFailure, layout
from trainer.contract.chain import Epoch, epochs_in

log = logging.getLogger(__name__)
D = TypeVar("D", Epoch, Manifest)
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


def prune_checkpoints(uri: str, keep: int) -> int:
    """Remove what a run's checkpoints below ``uri`` no longer need beside the newest ``keep``; how many objects.

    Only Airflow's account may delete there; where it may not either, the bucket's lifecycle is left to do it.

    Raises:
        TrainingFailure: what the storage refused; what was removed until then is not needed.
    """
    store = open_store(uri)
    with storage_errors(uri):
        names = store.list("epochs")
        markers = {epoch: _document(store, Epoch, layout.epoch_marker(epoch)) for epoch in epochs_in(names)}
        gone = removable(names, markers, lambda name: _document(store, Manifest, name), keep)
        for name in gone:
            store.delete(name)
    log.info("%s: the newest %s checkpoints are kept, %s of %s objects removed", uri, keep, len(gone), len(names))
    return len(gone)


def _document(store: ObjectStore, kind: type[D], name: str) -> D | None:
    try:
        return kind.from_json(store.read(name))
    except (ContractError, FileNotFoundError, UnicodeDecodeError):
        return None


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
    # gcsfs makes a plain OSError of a 403.
    forbidden = isinstance(error, OSError) and number is None and str(error).startswith("Forbidden: ")
    if code in (401, 403) or number in DENIED or forbidden:
        return FailureReason.PERMISSION_DENIED
    if number in FULL:
        return FailureReason.STORAGE_FULL
    transient = isinstance(code, int) and (code in (408, 429) or 500 <= code < 600)
    if transient or isinstance(error, (TimeoutError, ConnectionError)):
        return FailureReason.NETWORK_TIMEOUT
    return None
