"""Partitions: cables pulled out between network namespaces."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.chaos.cluster import Report
from tests.chaos.conftest import BOTH, STEADY, Start, Wanted
from tests.chaos.network import Network
from trainer.contract import Engine, FailureReason, Limits

pytestmark = pytest.mark.timeout(240)
Undisturbed = Callable[..., Report]
Survived = Callable[..., None]


@pytest.mark.chaos
@BOTH
def test_a_worker_that_is_cut_off_is_left_behind_and_joins_again(
    start: Start, wanted: Wanted, undisturbed: Undisturbed, survived: Survived, network: Network, engine: Engine
) -> None:
    limits = Limits(worker_start_s=60, heartbeat_s=2, regroup_grace_s=0, partition_s=60)
    steady = {"engine": engine, "rounds": 2000, "params": STEADY[engine]}
    run = start(wanted(**steady, limits=limits), network=network).at_round(100).cut(1)
    run.after("group").mend(1)
    run.after("changed", joined=[1])
    report = run.until_finished()
    survived("cut off a worker, survivors go on", run, report, undisturbed(**steady))
    assert (report.named("lost")[0]["workers"], report.named("lost")[0]["reason"]) == ([1], "NetworkPartition")
    assert report.manifest is not None
    assert [m.worker_index for m in report.manifest.group] == [0, 1, 2]
    assert report.metric <= 1.01 * undisturbed(**steady).metric


def test_a_partition_pauses_the_job_until_the_quorum_is_back(
    start: Start, wanted: Wanted, undisturbed: Undisturbed, survived: Survived, network: Network
) -> None:
    limits = Limits(worker_start_s=60, heartbeat_s=2, regroup_grace_s=60, partition_s=60)
    run = start(wanted(limits=limits), network=network).at_round(100).cut(0, 1, 2)
    run.after("paused").mend(0, 1, 2)
    report = run.until_finished()
    survived("cut off all workers, mended", run, report, undisturbed())
    assert report.named("lost")[0]["reason"] == "NetworkPartition"
    assert report.sha256 == undisturbed().sha256


@pytest.mark.chaos
def test_a_partition_that_lasts_ends_the_job(
    start: Start, wanted: Wanted, survived: Survived, network: Network
) -> None:
    limits = Limits(worker_start_s=60, heartbeat_s=2, regroup_grace_s=1, partition_s=5)
    run = start(wanted(limits=limits), network=network).at_round(100).cut(0, 1)
    report = run.until_ended()
    survived("cut off two of three for good", run, report)
    assert report.exit_code == os.EX_UNAVAILABLE
    assert report.outcome.reason is FailureReason.NETWORK_PARTITION
    assert "within 5 s" in report.outcome.message
    run.mend(0, 1)
