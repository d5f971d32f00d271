"""Why a command failed: the cause, not the peer that happened to be heard first."""

import asyncio
import time
from collections.abc import Callable

import pytest

from trainer.chief.group import Command, GroupLostError, Reply, ignore_progress, naming
from trainer.chief.settle import Pulse, settle
from trainer.contract import FailureReason, TrainingFailure

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.chief.settle.EVIDENCE_S", 0.5)
    monkeypatch.setattr("trainer.chief.settle.TICK_S", 0.05)


def command(**changes: float) -> Command:
    return Command(name="train", arguments={}, **{"timeout_s": 10.0, **changes})


async def replies(after_s: float = 0.0) -> Reply:
    await asyncio.sleep(after_s)
    return Reply(fields={"ok": True})


async def fails(reason: FailureReason, message: str, after_s: float = 0.0) -> Reply:
    await asyncio.sleep(after_s)
    raise TrainingFailure(reason, message)


class Killer:
    def __init__(self) -> None:
        self.kills = 0

    async def __call__(self) -> None:
        self.kills += 1


async def run(
    work: dict[int, object], kill: Killer, silent: Callable[[], dict[int, float]] = dict, **changes: float
) -> dict[int, Reply]:
    tasks = {worker: asyncio.create_task(w) for worker, w in work.items()}  # type: ignore[arg-type]
    return await settle(tasks, command(**changes), Pulse(ignore_progress, silent), kill)


async def test_all_replies_by_worker() -> None:
    kill = Killer()
    got = await run({0: replies(), 3: replies(0.01)}, kill)
    assert sorted(got) == [0, 3]
    assert kill.kills == 0


async def test_a_lost_worker_is_named_though_its_peers_fail_first() -> None:
    kill = Killer()
    work = {
        0: fails(FailureReason.BUG, "XGBoostError: connection reset"),
        1: fails(FailureReason.WORKERS_LOST, "was killed by SIGKILL", 0.2),
        2: replies(60),
    }
    with pytest.raises(GroupLostError, match=r"^worker 1 during train: was killed by SIGKILL$") as caught:
        await run(work, kill)
    assert (caught.value.reason, caught.value.lost) == (FailureReason.WORKERS_LOST, (1,))
    assert kill.kills == 1


async def test_invalid_data_at_one_rank_comes_before_everything_it_causes() -> None:
    work = {
        0: fails(FailureReason.WORKERS_LOST, "died"),
        1: fails(FailureReason.DATA_INVALID, "column x is missing"),
    }
    with pytest.raises(TrainingFailure, match="column x is missing") as caught:
        await run(work, Killer())
    assert caught.value.reason is FailureReason.DATA_INVALID


async def test_what_nobody_explains_is_a_bug_after_a_short_wait_for_evidence() -> None:
    began = time.monotonic()
    with pytest.raises(TrainingFailure, match="ValueError") as caught:
        await run({0: fails(FailureReason.BUG, "ValueError: x"), 1: replies(60)}, Killer())
    assert caught.value.reason is FailureReason.BUG
    assert 0.5 <= time.monotonic() - began < 3


async def test_no_answer_in_time_names_who_did_not_give_one() -> None:
    kill = Killer()
    with pytest.raises(GroupLostError, match="worker 1 during train: no answer within 0 s") as caught:
        await run({0: replies(), 1: replies(60)}, kill, timeout_s=0.2)
    assert caught.value.reason is FailureReason.NETWORK_PARTITION
    assert kill.kills == 1


async def test_ranks_that_make_no_progress_are_given_up() -> None:
    with pytest.raises(GroupLostError, match="no rank has made progress for 1 s"):
        await run({0: replies(60), 1: replies(60)}, Killer(), timeout_s=60, stall_s=lambda: 0.6)


async def test_being_cancelled_ends_the_ranks_first() -> None:
    kill = Killer()
    task = asyncio.create_task(run({0: replies(60)}, kill))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kill.kills == 1


async def test_a_silent_worker_is_named_and_not_its_peers() -> None:
    work = {0: fails(FailureReason.NETWORK_PARTITION, "lost its peers", 0.1), 1: replies(60), 2: replies(60)}
    with pytest.raises(GroupLostError, match=r"^worker 1 during train: it has not been heard of for 31 s$") as caught:
        await run(work, Killer(), silent=lambda: {1: 31.0})
    assert (caught.value.reason, caught.value.lost) == (FailureReason.NETWORK_PARTITION, (1,))


@pytest.mark.parametrize("peer_fails", [True, False])
async def test_a_worker_that_went_before_the_command_reached_it_is_named(peer_fails: bool) -> None:
    peer = fails(FailureReason.NETWORK_PARTITION, "lost its peers", 0.1) if peer_fails else replies(60)
    tasks = {i: asyncio.create_task(work) for i, work in enumerate((peer, replies(60), replies(60)))}
    began = time.monotonic()
    with pytest.raises(GroupLostError, match=r"^worker 1 during train: the connection to it ended") as caught:
        await settle(tasks, command(), Pulse(ignore_progress, gone=lambda: [1]), Killer())
    assert (caught.value.reason, caught.value.lost) == (FailureReason.WORKERS_LOST, (1,))
    assert time.monotonic() - began < 3


async def test_peers_that_lost_each_other_name_nobody_as_lost() -> None:
    work = {0: fails(FailureReason.NETWORK_PARTITION, "lost its peers"), 1: replies(60)}
    with pytest.raises(GroupLostError, match="worker 0 during train: lost its peers") as caught:
        await run(work, Killer())
    assert (caught.value.reason, caught.value.lost) == (FailureReason.NETWORK_PARTITION, ())


async def test_evidence_that_comes_after_a_stall_takes_its_place() -> None:
    work = {0: replies(60), 1: fails(FailureReason.WORKERS_LOST, "was killed", 0.6)}
    with pytest.raises(GroupLostError, match=r"^worker 1 during train: was killed$"):
        await run(work, Killer(), stall_s=lambda: 0.3)


async def test_a_chief_that_was_itself_stopped_accuses_nobody() -> None:
    async def stops_the_loop() -> Reply:
        await asyncio.sleep(0.1)
        time.sleep(0.5)
        return await replies(0.2)

    assert await run({0: stops_the_loop()}, Killer(), silent=_silent_once(), stall_s=lambda: 0.4)


def _silent_once() -> Callable[[], dict[int, float]]:
    """Heartbeats that were not read while the loop stood still, and are read right after it."""
    began = time.monotonic()
    return lambda: {0: 31.0} if 0.5 < time.monotonic() - began < 0.62 else {}


def test_whom_peers_lost_before_the_chief_did_is_named_by_its_silence() -> None:
    error = GroupLostError(FailureReason.NETWORK_PARTITION, "worker 0 during train: a peer is silent")
    named = naming(error, {2, 1})
    assert (named.reason, named.lost) == (FailureReason.NETWORK_PARTITION, (1, 2))
    assert str(named) == "worker 0 during train: a peer is silent; nothing is heard of workers 1, 2"
    assert naming(error, set()) is error
    known = GroupLostError(FailureReason.WORKERS_LOST, "worker 1 is gone", [1])
    assert naming(known, {2}) is known
