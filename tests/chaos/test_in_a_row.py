"""The faults that change nothing, one after the other in one job. Each by itself is in the long form (``make chaos``).

A worker that hangs is not among them: soon after another loss survivors do not wait for it
(:func:`trainer.chief.regroup.patience_s`).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.cluster import Report
from tests.chaos.conftest import BOTH, SEGMENT, Start, Wanted
from tests.chaos.test_storage import corrupt, newest
from trainer.contract import Engine, GroupChange

pytestmark = pytest.mark.timeout(240)


@BOTH
def test_a_job_that_lost_everything_once_ends_with_the_same_bytes(
    start: Start, wanted: Wanted, undisturbed: Callable[..., Report], engine: Engine
) -> None:
    run = start(wanted(engine=engine))
    run.at_round(50).kill_workers(1).after("group")
    run.at_round(100).kill_rank(0).after("group")
    run.at_round(200).lose_chief()
    last = int(newest(run)[0].parent.name)
    corrupt(run)
    report = run.start_chief().until_finished()

    lost = [tuple(e["workers"]) for e in report.named("lost")]
    assert [workers for workers in dict.fromkeys(lost) if workers] == [(1,), (0,)]
    assert report.named("passed-over")
    assert report.named("resumed")[0]["round"] == last - SEGMENT
    assert set(report.changes[1:-1]) == {GroupChange.REGROUPED}
    assert (len(report.changes) >= 4, report.changes[-1]) == (True, GroupChange.RESUMED)
    assert report.sha256 == undisturbed(engine=engine).sha256
