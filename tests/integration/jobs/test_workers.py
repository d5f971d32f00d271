"""A worker without its chief."""

import os
from collections.abc import Callable

import pytest

from tests.integration.jobs.pods import Launcher, free_port, make_certificates
from trainer.contract import FailureReason, Limits, TrainingSpec

pytestmark = pytest.mark.timeout(400)
Make = Callable[..., TrainingSpec]


def test_a_chief_that_never_comes_up_is_lost(launcher: Launcher, make_spec: Make) -> None:
    port = free_port()
    worker = launcher.worker(make_spec("never"), 0, port, TRAINING_CHIEF_WAIT_S="1")
    assert worker.wait() == os.EX_UNAVAILABLE, worker.tail()
    outcome = worker.outcome()
    assert outcome.reason is FailureReason.CHIEF_LOST
    assert f"no chief at 127.0.0.1:{port} within 1 s" in outcome.message


def test_a_worker_that_is_told_to_stop_was_preempted(launcher: Launcher, make_spec: Make) -> None:
    limits = Limits(worker_start_s=40, heartbeat_s=10, regroup_grace_s=0)
    spec = make_spec("preempted", rounds=100_000, limits=limits)
    port = free_port()
    chief = launcher.chief(spec, port)
    workers = [launcher.worker(spec, index, port) for index in range(2)]
    chief.wait_for("committed", round=20)
    workers[1].process.terminate()
    assert workers[1].wait() == os.EX_TEMPFAIL, workers[1].tail()
    assert workers[1].outcome().reason is FailureReason.PREEMPTED
    assert chief.wait() == os.EX_UNAVAILABLE
    assert chief.outcome().reason is FailureReason.WORKERS_LOST


def test_a_chief_of_another_job_is_refused(launcher: Launcher, make_spec: Make) -> None:
    spec = make_spec("stranger")
    port = free_port()
    launcher.chief(spec, port).wait_for("waiting")
    other = make_certificates(launcher.folder / "other")
    worker = launcher.worker(spec, 0, port, TRAINING_TLS_DIR=str(other))
    assert worker.wait() == os.EX_CONFIG, worker.tail()
    assert "is not one of this job" in worker.outcome().message
