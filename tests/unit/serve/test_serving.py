"""Which model is served: looks at the alias, and what follows from what they find."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest

from tests.unit.serve.test_app import model
from trainer.contract import FailureReason, TrainingFailure
from trainer.logs import open_log
from trainer.serve import serving as module
from trainer.serve.model import Source
from trainer.serve.serving import Serving


class Followed:
    """A registry whose champion is ``wanted``, and what loading it ends with, one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ends: Any) -> None:
        self.wanted, self.loaded, self.ends = "v2", 0, list(ends)
        self.stream = io.StringIO()
        source = Source(version=lambda: self.wanted, folder=lambda v: v, there=lambda: True)
        self.serving = Serving(model=model(), source=source, log=open_log("", self.stream), wanted="v1")
        monkeypatch.setattr(module, "load", self._load)

    def _load(self, _uri: str, _threads: int) -> Any:
        self.loaded += 1
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    @property
    def said(self) -> list[str]:
        return [json.loads(line)["message"] for line in self.stream.getvalue().splitlines()]


def failure(reason: FailureReason) -> TrainingFailure:
    return TrainingFailure(reason, f"it failed with {reason.value}")


@pytest.mark.parametrize("reason", [FailureReason.NETWORK_TIMEOUT, FailureReason.PERMISSION_DENIED])
def test_a_storage_that_does_not_answer_is_asked_again_and_reported_once(
    monkeypatch: pytest.MonkeyPatch, reason: FailureReason
) -> None:
    new = model()
    followed = Followed(monkeypatch, failure(reason), failure(reason), new)
    assert [followed.serving.look() for _ in range(4)] == [False, False, True, False]
    assert followed.serving.model is new
    assert followed.loaded == 3
    assert len(followed.said) == 2
    assert followed.said[0].endswith("20260101-000000-aaaaaa goes on serving")


def test_a_version_that_is_broken_is_looked_at_once_and_the_next_one_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    old_and_new = (model(), model())
    followed = Followed(monkeypatch, failure(FailureReason.DATA_INVALID), old_and_new[1])
    assert [followed.serving.look() for _ in range(3)] == [False] * 3
    assert followed.loaded == 1
    followed.wanted = "v3"
    assert followed.serving.look()
    assert followed.serving.model is old_and_new[1]


async def test_a_look_that_breaks_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    new = model()
    followed = Followed(monkeypatch, RuntimeError("a bug"), new)
    task = asyncio.create_task(followed.serving.follow(0.0))
    async with asyncio.timeout(20):
        while followed.serving.model is not new:
            await asyncio.sleep(0)
    task.cancel()
    assert "RuntimeError('a bug')" in followed.said[0]
