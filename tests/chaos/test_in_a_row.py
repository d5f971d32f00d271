"""The faults that change nothing, one after the other in one job. Each by itself is in the long form (``make chaos``)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.cluster import Report
from tests.chaos.conftest import BOTH, SEGMENT, Start, Wanted
from tests.chaos.test_storage import corrupt, newest
from trainer.contract import Engine, GroupChange, Limits

pytestmark = pytest.mark.timeout(240)
LIMITS = Limits(worker_start_s=60, heartbeat_s=5, regroup_grace_s=120, partition_s=60)


@BOTH
def test_a_job_that_lost_everything_once_ends_with_the_same_bytes(
    start: Start, wanted: Wanted, undisturbed: Callable[..., Report], engine: Engine
) -> None:
    run = start(wanted(engine=engine, limits=LIMITS))
    run.at_round(50).kill_workers(1).after("group")
    run.at_round(100).kill_rank(0).after("group")
    run.at_round(150).stop_workers(2).after("lost", reason="NetworkPartition").continue_workers(2).after("group")
    run.at_round(250).lose_chief()
    last = int(newest(run)[0].parent.name)
    corrupt(run)
    report = run.start_chief().until_finished()

    lost = [tuple(e["workers"]) for e in report.named("lost")]
    assert [workers for workers in dict.fromkeys(lost) if workers] == [(1,), (0,), (2,)]
    assert report.named("passed-over")
    assert report.named("resumed")[0]["round"] == last - SEGMENT
    assert set(report.changes[1:-1]) == {GroupChange.REGROUPED}
    assert (len(report.changes) >= 5, report.changes[-1]) == (True, GroupChange.RESUMED)
    assert report.sha256 == undisturbed(engine=engine).sha256
