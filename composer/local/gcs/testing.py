"""The stand-in for tests: in a thread of the test's own process, so that a test's functions can choose the faults."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from composer.local.gcs.buckets import Buckets
from composer.local.gcs.server import Faults, Server, Service


def no_faults(_method: str, _path: str) -> int | None:
    """Nothing fails."""
    return None


class OneInThree:
    """Answers the first request of every three with ``code``, whoever asks."""

    def __init__(self, code: int = 503) -> None:
        self._code = code
        self._lock = threading.Lock()
        self.requests = 0

    def __call__(self, _method: str, _path: str) -> int | None:
        """``code`` or None."""
        with self._lock:
            self.requests += 1
            return self._code if self.requests % 3 == 1 else None


@contextlib.contextmanager
def running_gcs(
    folder: Path,
    faults: Faults | None = None,
    *,
    lost: Faults | None = None,
    buckets: Sequence[str] = ("bucket",),
    may_delete: bool = True,
) -> Iterator[str]:
    """Serve ``buckets``, kept below ``folder``, and yield the address for ``STORAGE_EMULATOR_HOST``.

    Requests for which ``faults`` names an HTTP status are refused with it; those for which ``lost`` does are carried
    out first. Without ``may_delete`` objects are neither deleted nor replaced, as for the account of the pods.

    gcsfs looks for a control plane of its own unless ``GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT`` is ``false`` before it is
    imported, and for Google's credentials unless ``NO_GCE_CHECK`` is ``true``.
    """
    service = Service(
        buckets=Buckets(folder, buckets, may_delete=may_delete), faults=faults or no_faults, lost=lost or no_faults
    )
    server = Server(0, service)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
