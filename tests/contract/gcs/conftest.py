"""gcsfs, pointed at the stand-in."""

import os

# Read when gcsfs is imported: its control plane would ask Google what kind of bucket this is.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import gcsfs
import pytest

from composer.local.gcs.testing import running_gcs


class Start(Protocol):
    def __call__(self, faults: Callable[[str, str], int | None] | None = None, **options: Any) -> str: ...


@pytest.fixture
def gcs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start the stand-in; from then on ``gs://`` leads there. Returns its address."""
    with ExitStack() as stack:

        def start(faults: Callable[[str, str], int | None] | None = None, **options: Any) -> str:
            address = stack.enter_context(running_gcs(tmp_path / "gcs", faults, **options))
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
            monkeypatch.setenv("NO_GCE_CHECK", "true")
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            return address

        gcsfs.GCSFileSystem.clear_instance_cache()
        yield start
        gcsfs.GCSFileSystem.clear_instance_cache()


@pytest.fixture
def gcsfs_asks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gcsfs's own retries (six requests in half a minute), only ours are left."""
    from gcsfs.core import GCSFileSystem

    monkeypatch.setattr(GCSFileSystem, "_request", GCSFileSystem._request.__wrapped__)


@pytest.fixture
def gcsfs_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """gcsfs's own retries, as ever, without the seconds between them."""
    import gcsfs.retry

    class Instant:
        @staticmethod
        async def sleep(_seconds: float) -> None:
            pass

    monkeypatch.setattr(gcsfs.retry, "asyncio", Instant)
