"""A driver whose workers come and go."""

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.chief.fakes import FakeGroup, spec, use_fake_engine
from trainer.checkpoints import Checkpoints, spec_sha256
from trainer.chief.driver import Driver
from trainer.chief.group import GroupLostError
from trainer.contract import FailureReason, GroupChange, Limits, TrainingFailure, TrainingSpec
from trainer.logs import EventLog, JsonLines
from trainer.storage import open_store

pytestmark = pytest.mark.timeout(20)
AT_ONCE = Limits(regroup_grace_s=0)
SOON = Limits(regroup_grace_s=0.15, partition_s=0.3)


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_engine(monkeypatch)


def drive(wanted: TrainingSpec, group: FakeGroup, stream: io.StringIO | None = None) -> Driver:
    store = Checkpoints(store=open_store(wanted.output.checkpoints), spec_sha256=spec_sha256(wanted))
    epoch, found = store.take_over(wanted.job_id)
    log = EventLog(job_id="job", sink=JsonLines(stream or io.StringIO()))
    return Driver(spec=wanted, group=group, checkpoints=store, log=log, epoch=epoch, found=found)


def lose(group: FakeGroup, *workers: int, reason: FailureReason = FailureReason.WORKERS_LOST) -> Callable[[], None]:
    def happens() -> None:
        (group.quiet if reason is FailureReason.NETWORK_PARTITION else group.gone).update(workers)
        raise GroupLostError(reason, f"workers {workers} are gone", workers)

    return happens


async def comes_back(group: FakeGroup, after_s: float, *workers: int) -> None:
    await asyncio.sleep(after_s)
    group.gone -= set(workers)
    group.quiet -= set(workers)


def broken(at: tuple[str, int], *workers: int, **changes: Any) -> FakeGroup:
    group = FakeGroup(**changes)
    group.break_at = {at: lose(group, *workers)}
    return group


@pytest.mark.parametrize("at", [("load", 0), ("join", 0), ("build", 0), ("train", 0), ("train", 2)])
async def test_survivors_take_over_every_row(tmp_path: Path, at: tuple[str, int]) -> None:
    group = broken(at, 1)
    manifest = await drive(spec(tmp_path, limits=AT_ONCE), group).run()
    assert manifest.finished
    assert [m.worker_index for m in manifest.group] == [0, 2]
    assert sorted(s for m in manifest.group for s in m.shards) == [0, 1, 2, 3]
    assert sum(m.rows for m in manifest.group) == 10
    change = GroupChange.STARTED if at[0] != "train" else GroupChange.REGROUPED
    assert manifest.lineage[-1].change in (change, GroupChange.REGROUPED)
    assert manifest.lineage[-1].round == 4 * at[1]
    assert "workers (1,) are gone" in manifest.lineage[-1].detail
    assert manifest.lineage[-1].epoch == 1, "the chief is the same"


async def test_a_replacement_within_the_grace_gives_the_same_bytes(tmp_path: Path) -> None:
    whole = drive(spec(tmp_path / "whole"), FakeGroup())
    await whole.run()
    group = broken(("train", 1), 2)
    stream = io.StringIO()
    driver = drive(spec(tmp_path / "cut"), group, stream)
    back = asyncio.create_task(comes_back(group, 0.1, 2))
    manifest = await driver.run()
    await back
    assert driver.documents == whole.documents
    assert [len(json.loads(p)) for p in group.restored] == [4, 4, 4], "every rank predicts the committed rounds again"
    assert [m.worker_index for m in manifest.group] == [0, 1, 2]
    waiting = [json.loads(line) for line in stream.getvalue().splitlines() if '"missing":[2]' in line]
    assert waiting[0]["event"] == "waiting"


async def test_half_pauses_and_goes_on_when_one_is_back(tmp_path: Path) -> None:
    group = broken(("train", 1), 1, 2)
    stream = io.StringIO()
    driver = drive(spec(tmp_path, limits=SOON), group, stream)
    back = asyncio.create_task(comes_back(group, 0.1, 1))
    manifest = await driver.run()
    await back
    assert [m.worker_index for m in manifest.group] == [0, 1]
    assert '"event":"paused"' in stream.getvalue()


@pytest.mark.parametrize(
    ("reason", "named"), [(FailureReason.WORKERS_LOST, "0 s"), (FailureReason.NETWORK_PARTITION, "0 s")]
)
async def test_half_that_stays_away_ends_the_job(tmp_path: Path, reason: FailureReason, named: str) -> None:
    group = FakeGroup()
    group.break_at = {("train", 1): lose(group, 1, 2, reason=reason)}
    with pytest.raises(TrainingFailure, match=f"1 of 3 workers are left, and no others came within {named}") as caught:
        await drive(spec(tmp_path, limits=SOON), group).run()
    assert caught.value.reason is reason
    assert "the last committed round is 4" in str(caught.value)


async def test_a_worker_that_returns_joins_at_a_boundary(tmp_path: Path) -> None:
    group = broken(("train", 0), 1)
    wanted = spec(tmp_path, limits=AT_ONCE)
    original = group._trained

    def trained(worker: int, arguments: Any, on_progress: Any) -> Any:
        if arguments["first_round"] == 4:
            group.gone.clear()
        return original(worker, arguments, on_progress)

    group._trained = trained  # type: ignore[method-assign]
    manifest = await drive(wanted, group).run()
    assert [(e.change, e.round, len(e.group)) for e in manifest.lineage] == [
        (GroupChange.STARTED, 0, 3),
        (GroupChange.REGROUPED, 0, 2),
        (GroupChange.REJOINED, 8, 3),
    ]
    assert manifest.lineage[-1].detail == "worker 1 joined"


async def test_a_worker_that_was_told_to_stop_leaves_at_the_boundary(tmp_path: Path) -> None:
    group = FakeGroup()

    def told() -> None:
        assert group.leave is not None
        group.leave(2, 18.0)
        group.gone.add(2)

    group.break_at = {("train", 1): told}
    manifest = await drive(spec(tmp_path, limits=AT_ONCE), group).run()
    assert [(e.change, e.round, len(e.group)) for e in manifest.lineage][1:] == [(GroupChange.REGROUPED, 8, 2)]
    assert manifest.lineage[-1].detail == "worker 2 left"
    assert group.dismissed == [2]
    assert manifest.finished


async def test_a_job_that_loses_every_segment_is_given_up(tmp_path: Path) -> None:
    group = FakeGroup()
    group.break_at = {("train", n): lose(group) for n in range(20)}
    with pytest.raises(TrainingFailure, match="11 times in a row"):
        await drive(spec(tmp_path), group).run()
    rounds = [c.arguments[0]["rounds"] for c in group.named("train")]
    assert rounds[:4] == [4, 4, 2, 1], "repeated as it was once, then halved"


async def test_survivors_do_not_wait_where_workers_are_lost_faster_than_they_come_back(tmp_path: Path) -> None:
    group = FakeGroup()
    group.break_at = {("train", 0): lose(group, 1), ("train", 1): lose(group, 2)}
    driver = drive(spec(tmp_path, num_workers=3, limits=Limits(regroup_grace_s=8)), group)
    back = asyncio.create_task(comes_back(group, 0.2, 1))
    manifest = await driver.run()
    await back
    # The first loss is waited for; the second comes before the group has trained as long as that took.
    assert [len(event.group) for event in manifest.lineage] == [3, 3, 2]


async def test_a_training_process_alone_does_not_change_for_how_long_workers_are_waited_for(tmp_path: Path) -> None:
    group = FakeGroup()
    # Worker 1 takes 0.2 s to come back; then the training process of worker 0 dies, whose worker never went.
    group.break_at = {("train", 0): lose(group, 1), ("train", 1): _process_dies}
    driver = drive(spec(tmp_path, limits=Limits(regroup_grace_s=8)), group)
    back = asyncio.create_task(comes_back(group, 0.2, 1))
    await driver.run()
    await back
    assert driver.recovery._returned_s is not None
    assert driver.recovery._returned_s >= 0.2


def _process_dies() -> None:
    raise GroupLostError(FailureReason.WORKERS_LOST, "a training process died", [0])


async def test_a_silent_worker_whose_connection_ends_is_still_waited_for_as_silent(tmp_path: Path) -> None:
    group = FakeGroup()
    group.break_at = {("train", 1): lose(group, 1, 2, reason=FailureReason.WORKERS_LOST)}
    group.quiet.add(2)
    driver = drive(spec(tmp_path, limits=Limits(regroup_grace_s=0.1, partition_s=0.6)), group)
    asyncio.get_running_loop().call_later(0.2, group.quiet.clear)
    with pytest.raises(TrainingFailure) as caught:
        await driver.run()
    assert caught.value.reason is FailureReason.NETWORK_PARTITION


async def test_a_quorum_that_comes_and_goes_does_not_begin_the_grace_anew(tmp_path: Path) -> None:
    group = FakeGroup(workers=4)
    group.break_at = {("train", 1): lose(group, 3)}
    driver = drive(spec(tmp_path, num_workers=4, limits=Limits(regroup_grace_s=0.6)), group)
    # One is lost and waited for; shortly before the grace is over the second goes.
    asyncio.get_running_loop().call_later(0.4, group.gone.add, 2)
    began = asyncio.get_running_loop().time()
    with pytest.raises(TrainingFailure, match="2 of 4 workers are left"):
        await driver.run()
    assert asyncio.get_running_loop().time() - began < 1.0


async def test_told_to_stop_while_it_waits_it_stops(tmp_path: Path) -> None:
    group = broken(("train", 1), 1)
    driver = drive(spec(tmp_path), group)
    asyncio.get_running_loop().call_later(0.1, lambda: driver.stop(10.0))
    with pytest.raises(TrainingFailure) as caught:
        await driver.run()
    assert caught.value.reason is FailureReason.PREEMPTED
