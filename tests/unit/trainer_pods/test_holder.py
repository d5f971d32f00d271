"""What a rank process's failure means, in reasons."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer.contract import FailureReason, TrainingFailure
from trainer.rank.process import RankDied, RankTimeout
from trainer.worker import holder as holder_module
from trainer.worker.holder import RankHolder


class FakeRank:
    """A real process, so that it can be watched and killed; what ``call`` does is set by the test."""

    happens: Callable[["FakeRank"], tuple[dict[str, Any], bytes]]

    def __init__(self, *, cache_dir: Path, server: Any) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", "x = bytearray(80 << 20); import time; time.sleep(60)"])
        self.pid = self.process.pid

    def call(self, command: str, *_: Any, **__: Any) -> tuple[dict[str, Any], bytes]:
        return type(self).happens(self)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()


class FakeServer:
    """A server that a test can break; it counts those that were started."""

    started = 0
    is_alive = True

    def __init__(self) -> None:
        type(self).started += 1

    def prepare(self, engine: str) -> None:
        """Nothing to import."""

    def close(self) -> None:
        """Nothing to end."""


@pytest.fixture
def holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RankHolder]:
    monkeypatch.setattr(holder_module, "RankProcess", FakeRank)
    monkeypatch.setattr(holder_module, "ForkServer", FakeServer)
    monkeypatch.setattr(FakeServer, "started", 0)
    held = RankHolder(cache_dir=tmp_path)
    yield held
    held.close()


def call(holder: RankHolder, command: str = "load") -> tuple[dict[str, Any], bytes]:
    return holder.call(command, {}, b"", 5.0, lambda _report: None)


def died(rank: FakeRank) -> tuple[dict[str, Any], bytes]:
    raise RankDied(f"rank process {rank.pid} ended by signal SIGKILL", -9)


def timed_out(rank: FakeRank) -> tuple[dict[str, Any], bytes]:
    raise RankTimeout("no answer to load within 5 s")


def lost_its_peers(rank: FakeRank) -> tuple[dict[str, Any], bytes]:
    raise TrainingFailure(FailureReason.WORKERS_LOST, "train: [rank 0] Connection reset by peer")


def waits_for_its_end(rank: FakeRank) -> tuple[dict[str, Any], bytes]:
    rank.process.wait(20)
    return died(rank)


def test_a_reply_is_handed_on_and_the_process_is_kept(holder: RankHolder) -> None:
    FakeRank.happens = lambda rank: ({"pid": rank.pid}, b"x")
    (first, payload), (second, _) = call(holder), call(holder, "train")
    assert (first, payload) == (second, b"x")


def test_a_death_without_evidence_is_a_lost_worker(holder: RankHolder) -> None:
    FakeRank.happens = died
    with pytest.raises(TrainingFailure, match="ended by signal SIGKILL") as caught:
        call(holder)
    assert caught.value.reason is FailureReason.WORKERS_LOST


@pytest.mark.timeout(40)
def test_a_process_over_its_memory_limit_is_out_of_memory(holder: RankHolder) -> None:
    holder.memory_limit_bytes = 60 << 20
    FakeRank.happens = waits_for_its_end
    with pytest.raises(TrainingFailure, match="TRAINING_MEMORY_LIMIT 60 MiB") as caught:
        call(holder)
    assert caught.value.reason is FailureReason.OUT_OF_MEMORY


def test_a_process_that_does_not_answer_is_killed(holder: RankHolder) -> None:
    ranks: list[FakeRank] = []

    def happens(rank: FakeRank) -> tuple[dict[str, Any], bytes]:
        ranks.append(rank)
        return timed_out(rank)

    FakeRank.happens = happens
    with pytest.raises(TrainingFailure, match="no answer") as caught:
        call(holder)
    assert caught.value.reason is FailureReason.NETWORK_PARTITION
    assert ranks[0].process.poll() is not None


def test_a_server_that_was_killed_is_started_again(holder: RankHolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*, cache_dir: Path, server: Any) -> FakeRank:
        if FakeServer.started == 1:
            raise BrokenPipeError("the fork server is gone")
        return FakeRank(cache_dir=cache_dir, server=server)

    monkeypatch.setattr(holder_module, "RankProcess", refuses)
    FakeRank.happens = lambda rank: ({"pid": rank.pid}, b"")
    assert call(holder)[0]["pid"] > 0
    assert FakeServer.started == 2


def test_only_loading_starts_a_process(holder: RankHolder) -> None:
    with pytest.raises(TrainingFailure, match="there is no rank process for 'train'"):
        call(holder, "train")


def test_a_rank_that_lost_its_peers_is_not_itself_lost(holder: RankHolder) -> None:
    FakeRank.happens = lost_its_peers
    with pytest.raises(TrainingFailure, match="lost its peers") as caught:
        call(holder)
    assert caught.value.reason is FailureReason.NETWORK_PARTITION
