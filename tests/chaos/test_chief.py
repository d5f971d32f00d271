"""A chief that dies, is told to stop, or comes back from the dead."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable

import pytest

from tests.chaos.cluster import Report
from tests.chaos.conftest import BOTH, SEGMENT, Start, Wanted, rounds_lost
from trainer.contract import Engine, FailureReason, GroupChange

pytestmark = pytest.mark.timeout(180)
Undisturbed = Callable[..., Report]
Survived = Callable[..., None]


@pytest.mark.chaos
@BOTH
def test_a_killed_chief_is_followed_by_one_that_goes_on(
    start: Start, wanted: Wanted, undisturbed: Undisturbed, survived: Survived, engine: Engine
) -> None:
    run = start(wanted(engine=engine)).at_round(150).kill_chief()
    report = run.until_finished()
    survived("kill -9 the chief", run, report, undisturbed(engine=engine), detected_by="listening")
    assert report.named("resumed")[0]["round"] >= 150
    assert rounds_lost(report) <= SEGMENT
    assert report.sha256 == undisturbed(engine=engine).sha256


@pytest.mark.chaos
def test_a_chief_that_is_told_to_stop_commits_what_is_trained(
    start: Start, wanted: Wanted, undisturbed: Undisturbed, survived: Survived
) -> None:
    run = start(wanted()).at_round(100).preempt_chief()
    stopped = run.chief
    assert stopped.outcome().reason is FailureReason.PREEMPTED
    report = run.start_chief().until_finished()
    survived("SIGTERM the chief", run, report, undisturbed(), detected_by="resumed")
    assert report.named("resumed")[-1]["round"] == stopped.outcome().last_round
    # The segment ended within the notice, so it was not cut short, and nothing is different.
    assert report.sha256 == undisturbed().sha256


@pytest.mark.chaos
def test_nothing_that_a_zombie_writes_is_resumed_from(
    start: Start, wanted: Wanted, undisturbed: Undisturbed, survived: Survived
) -> None:
    run = start(wanted()).at_round(100)
    zombie = run.chief
    zombie.signal(signal.SIGSTOP)
    # A chief of its own address: the zombie still has the first one. Workers are lost to it one by one.
    run._port += 1
    for worker in run.workers.values():
        worker.signal(signal.SIGKILL)
    run.start_chief().at_round(200)
    zombie.signal(signal.SIGCONT)
    report = run.until_finished()
    survived("a chief stopped, replaced, continued", run, report, undisturbed(), detected_by="resumed")
    assert zombie.wait(120) == os.EX_UNAVAILABLE
    assert zombie.outcome().reason in (FailureReason.CHIEF_LOST, FailureReason.WORKERS_LOST)
    assert report.manifest is not None
    assert {part.file.split("/")[1] for part in report.manifest.segments} == {"000001", "000002"}
    assert report.sha256 == undisturbed().sha256


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("num_workers", "rounds"), [(1, 20_000), (2, 10_000)])
def test_fifty_kills_of_the_chief(
    start: Start, wanted: Wanted, undisturbed: Undisturbed, survived: Survived, num_workers: int, rounds: int
) -> None:
    changes = {"num_workers": num_workers, "rounds": rounds}
    generator = random.Random(50)
    run = start(wanted(**changes))
    kills = 0
    while kills < 50:
        run.after("committed")
        # At any moment of a segment, of its upload or of its commit.
        run._over.wait(generator.random() * 0.4)
        if run.chief.process.poll() is not None:
            break
        run.kill_chief()
        kills += 1
    report = run.until_finished(400)
    fault = f"kill -9 the chief of {num_workers}, {kills} times"
    survived(fault, run, report, undisturbed(**changes), detected_by="resumed")
    assert kills == 50
    assert [event.change for event in report.manifest.lineage].count(GroupChange.RESUMED) >= 45  # type: ignore[union-attr]
    assert report.sha256 == undisturbed(**changes).sha256
