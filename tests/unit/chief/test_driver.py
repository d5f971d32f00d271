"""The driver with ranks that only pretend: order of commands, checkpoints, resume, failures."""

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.chief.fakes import FakeGroup, spec, use_fake_engine
from trainer.checkpoints import Checkpoints, spec_sha256
from trainer.chief import plan
from trainer.chief.driver import Driver
from trainer.chief.group import GroupLostError
from trainer.chief.result import Finished, write_result
from trainer.chief.states import State
from trainer.contract import (
    FailureReason,
    GroupChange,
    Manifest,
    TrainingFailure,
    TrainingResult,
    TrainingSpec,
    layout,
)
from trainer.logs import EventLog, JsonLines
from trainer.storage import open_store

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_engine(monkeypatch)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def drive(stream: io.StringIO) -> Callable[..., Driver]:
    def make(wanted: TrainingSpec, group: FakeGroup) -> Driver:
        store = Checkpoints(store=open_store(wanted.output.checkpoints), spec_sha256=spec_sha256(wanted))
        epoch, found = store.take_over(wanted.job_id)
        log = EventLog(job_id="job", sink=JsonLines(stream))
        return Driver(spec=wanted, group=group, checkpoints=store, log=log, epoch=epoch, found=found)

    return make


Drive = Callable[[TrainingSpec, FakeGroup], Driver]


def events(stream: io.StringIO, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [line for line in lines if line["event"] == name]


def write(wanted: TrainingSpec, driver: Driver, manifest: Manifest) -> tuple[bytes, TrainingResult]:
    artifacts = open_store(wanted.output.artifacts)
    finished = Finished(
        manifest=manifest, manifest_uri="m", documents=driver.documents, seconds=driver.seconds, usage=driver.usage
    )
    write_result(wanted, finished, artifacts)
    return artifacts.read("booster.txt"), TrainingResult.from_json(artifacts.read(layout.RESULT))


async def test_a_job_from_first_worker_to_last_commit(tmp_path: Path, drive: Drive, stream: io.StringIO) -> None:
    group = FakeGroup()
    driver = drive(spec(tmp_path), group)
    manifest = await driver.run()
    assert driver.state is State.DONE
    names = [c.name for c in group.calls]
    assert names == ["load", "address", "join", "build", "train", "train", "train"]
    assert (manifest.round, manifest.finished, manifest.base_score) == (10, True, 2.0)
    assert [(s.first_round, s.last_round) for s in manifest.segments] == [(0, 4), (4, 8), (8, 10)]
    assert manifest.history["validation"] == pytest.approx([100.0 / n for n in range(1, 11)])
    assert manifest.train_history == (2.0, 2.0, 2.0)
    assert [e.change for e in manifest.lineage] == [GroupChange.STARTED]
    assert [line["round"] for line in events(stream, "boundary")] == [4, 8, 10]
    assert [line["round"] for line in events(stream, "committed")] == [4, 8, 10]
    assert [line["of"] for line in events(stream, "progress")][:1] == [10]


async def test_the_result_says_what_the_largest_training_process_used(tmp_path: Path, drive: Drive) -> None:
    wanted = spec(tmp_path)
    driver = drive(wanted, FakeGroup())
    _, result = write(wanted, driver, await driver.run())
    assert result.usage == {"peak_memory_bytes": 3 * 2.0**30, "cpus": 1.5}


async def test_ranks_are_in_worker_order_and_every_shard_is_dealt_once(tmp_path: Path, drive: Drive) -> None:
    group = FakeGroup()
    manifest = await drive(spec(tmp_path), group).run()
    join = group.named("join")[0].arguments
    assert [join[worker]["rank"] for worker in range(3)] == [0, 1, 2]
    assert join[1]["machines"] == ["host0:4000", "host1:4001", "host2:4002"]
    assert sorted(s for member in manifest.group for s in member.shards) == [0, 1, 2, 3]
    assert sum(member.rows for member in manifest.group) == 10


async def test_seeds_follow_from_the_segment(tmp_path: Path, drive: Drive) -> None:
    group = FakeGroup()
    await drive(spec(tmp_path, seed=5), group).run()
    seeds = [c.arguments[0]["seed"] for c in group.named("train")]
    assert seeds == [plan.segment_seed(5, n) for n in range(3)]


async def test_early_stopping_cuts_the_model_to_its_best_round(tmp_path: Path, drive: Drive) -> None:
    wanted = spec(tmp_path, rounds=40, early_stopping_rounds=3)
    group = FakeGroup(value_of=lambda n: abs(n - 6) + 1.0)
    driver = drive(wanted, group)
    manifest = await driver.run()
    assert (manifest.round, manifest.finished) == (12, True)
    assert (manifest.early_stopping.best_round, manifest.early_stopping.best_value) == (6, 1.0)
    model, result = write(wanted, driver, manifest)
    assert [tree[0] for tree in json.loads(model)] == [1, 2, 3, 4, 5, 6]
    assert (result.rounds, result.trained_rounds, result.metrics) == (6, 12, {"validation": 1.0})


async def test_a_job_without_validation_rows_reports_the_training_metric(tmp_path: Path, drive: Drive) -> None:
    wanted = spec(tmp_path, validation_split=None)
    group = FakeGroup()
    original = group._trained

    def trained(worker: int, arguments: Any, on_progress: Any) -> Any:
        reply = original(worker, arguments, on_progress)
        reply.fields["validation"] = [[0.0, 0.0]] * arguments["rounds"]
        return reply

    group._trained = trained  # type: ignore[method-assign]
    driver = drive(wanted, group)
    manifest = await driver.run()
    assert manifest.history == {}
    assert write(wanted, driver, manifest)[1].metrics == {"train": 2.0}


def run_out_of_memory() -> None:
    raise GroupLostError(FailureReason.OUT_OF_MEMORY, "worker 2 used all of it", [2])


@pytest.mark.parametrize("broken", [("load", 0), ("join", 0), ("build", 0), ("train", 0), ("train", 1)])
async def test_out_of_memory_ends_the_job_with_its_commits_in_place(
    tmp_path: Path, drive: Drive, broken: tuple[str, int]
) -> None:
    group = FakeGroup(break_at={broken: run_out_of_memory})
    driver = drive(spec(tmp_path), group)
    with pytest.raises(TrainingFailure, match="worker 2 used all of it; the last committed round is") as caught:
        await driver.run()
    assert caught.value.reason is FailureReason.OUT_OF_MEMORY
    assert driver.state is State.FAILED
    assert group.dissolved
    committed = (
        Checkpoints(store=driver.checkpoints.store, spec_sha256=driver.checkpoints.spec_sha256).newest().manifest
    )
    assert (committed.round if committed else 0) == 4 * broken[1]


@pytest.mark.parametrize("broken", [("train", 0), ("train", 1), ("train", 2)])
async def test_an_interrupted_and_resumed_job_writes_the_same_bytes(
    tmp_path: Path, drive: Drive, broken: tuple[str, int]
) -> None:
    whole_spec = spec(tmp_path / "whole", early_stopping_rounds=3, rounds=20)
    hill = {"value_of": lambda n: abs(n - 9) + 1.0}
    whole = drive(whole_spec, FakeGroup(**hill))
    expected, _ = write(whole_spec, whole, await whole.run())

    wanted = spec(tmp_path / "cut", early_stopping_rounds=3, rounds=20)
    with pytest.raises(TrainingFailure):
        await drive(wanted, FakeGroup(break_at={broken: run_out_of_memory}, **hill)).run()
    group = FakeGroup(**hill)
    driver = drive(wanted, group)
    manifest = await driver.run()
    model, result = write(wanted, driver, manifest)
    assert model == expected
    resumed = 4 * broken[1]
    last = result.lineage[-1]
    assert (last.change, last.round, last.epoch) == (
        GroupChange.RESUMED if resumed else GroupChange.STARTED,
        resumed,
        2,
    )
    assert [len(json.loads(payload)) for payload in group.restored] == [resumed] * (3 if resumed else 0)


async def test_a_checkpoint_that_was_passed_over_is_in_the_lineage(tmp_path: Path, drive: Drive) -> None:
    wanted = spec(tmp_path)
    with pytest.raises(TrainingFailure):
        await drive(wanted, FakeGroup(break_at={("train", 2): run_out_of_memory})).run()
    (tmp_path / "c" / layout.manifest(1, 8)).write_text("torn")
    manifest = await drive(wanted, FakeGroup()).run()
    last = manifest.lineage[-1]
    assert (last.change, last.round) == (GroupChange.RESUMED, 4)
    assert layout.manifest(1, 8) in last.detail


async def test_ranks_that_disagree_commit_nothing(tmp_path: Path, drive: Drive) -> None:
    driver = drive(spec(tmp_path), FakeGroup(wrong_digest_of=2))
    with pytest.raises(TrainingFailure, match="ranks 2 grew other trees"):
        await driver.run()
    assert driver.committed is None


async def test_rows_that_are_not_what_the_spec_counted_are_invalid(tmp_path: Path, drive: Drive) -> None:
    group = FakeGroup()
    original = group._reply

    def fewer(worker: int, command: Any, on_progress: Any) -> Any:
        reply = original(worker, command, on_progress)
        if command.name == "load" and worker == 1:
            reply.fields["rows"]["train"] -= 1
        return reply

    group._reply = fewer  # type: ignore[method-assign]
    with pytest.raises(TrainingFailure, match=r"p.d.t has 9 rows of split 'train', the spec counted 10") as caught:
        await drive(spec(tmp_path), group).run()
    assert caught.value.reason is FailureReason.DATA_INVALID


async def test_told_to_stop_it_commits_the_segment_and_stops(tmp_path: Path, drive: Drive) -> None:
    drivers: list[Driver] = []
    told: list[bool] = []
    group = FakeGroup(break_at={("train", 1): lambda: told.append(drivers[0].stop(10.0))})
    drivers.append(drive(spec(tmp_path), group))
    with pytest.raises(TrainingFailure, match="told to stop; the last committed round is 8") as caught:
        await drivers[0].run()
    assert caught.value.reason is FailureReason.PREEMPTED
    assert told == [True], "a segment that ends soon is not cut short"
    assert len(group.named("train")) == 2


async def test_told_to_stop_in_a_long_segment_it_cuts_it_short(
    tmp_path: Path, drive: Drive, stream: io.StringIO
) -> None:
    drivers: list[Driver] = []

    async def stop() -> None:
        drivers[0].progress.round_s = 5.0  # as if it were slow
        assert drivers[0].stop(20.0)
        await asyncio.sleep(0.05)

    group = FakeGroup(break_at={("train", 1): stop}, can_cut=3)
    drivers.append(drive(spec(tmp_path), group))
    with pytest.raises(TrainingFailure, match="told to stop; the last committed round is 7"):
        await drivers[0].run()
    cut = drivers[0].committed
    assert cut is not None
    assert [(s.first_round, s.last_round) for s in cut.segments] == [(0, 4), (4, 7)]
    last = cut.lineage[-1]
    assert (last.change, last.round, last.detail) == (GroupChange.CUT_SHORT, 7, "the chief was told to stop")
    assert [line["round"] for line in events(stream, "cut-short")] == [7]


async def test_rounds_that_take_too_long_are_given_up(tmp_path: Path, drive: Drive) -> None:
    drivers: list[Driver] = []
    told: list[bool] = []

    def stop() -> None:
        drivers[0].progress.measured_s = drivers[0].progress.round_s = 60.0
        told.append(drivers[0].stop(20.0))

    drivers.append(drive(spec(tmp_path), FakeGroup(break_at={("train", 1): stop})))
    with pytest.raises(TrainingFailure):
        await drivers[0].run()
    assert told == [False], "the caller ends it at once"


async def test_told_to_stop_in_the_last_segment_it_finishes(tmp_path: Path, drive: Drive) -> None:
    drivers: list[Driver] = []
    group = FakeGroup(break_at={("train", 2): lambda: drivers[0].stop(10.0)})
    drivers.append(drive(spec(tmp_path), group))
    assert (await drivers[0].run()).finished


async def test_a_commit_that_fails_ends_the_running_segment(
    tmp_path: Path, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = []

    async def trains_for_ever() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.append(True)

    group = FakeGroup(break_at={("train", 1): trains_for_ever})
    driver = drive(spec(tmp_path), group)

    def refuse(*_: Any) -> None:
        raise TrainingFailure(FailureReason.STORAGE_FULL, "file:///c: full")

    monkeypatch.setattr(driver.checkpoints, "commit", refuse)
    with pytest.raises(TrainingFailure, match="full") as caught:
        await driver.run()
    assert caught.value.reason is FailureReason.STORAGE_FULL
    assert cancelled == [True]
    assert group.dissolved


async def test_the_result_is_written_again_without_changing_it(tmp_path: Path, drive: Drive) -> None:
    wanted = spec(tmp_path)
    driver = drive(wanted, FakeGroup())
    manifest = await driver.run()
    first = write(wanted, driver, manifest)
    driver.seconds["training"] = 1e9
    assert write(wanted, driver, manifest) == first
