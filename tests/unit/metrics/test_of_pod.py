"""Metrics from what a chief says and from what a worker uses."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.chief.fakes import FakeGroup, spec, use_fake_engine
from trainer.checkpoints import Checkpoints, spec_sha256
from trainer.chief.driver import Driver
from trainer.chief.group import GroupLostError
from trainer.contract import FailureReason, Outcome
from trainer.environment import read_environment
from trainer.logs import EventLog, JsonLines
from trainer.metrics import Distribution, Registry
from trainer.metrics.export import exported
from trainer.metrics.of_pod import JobMetrics, WorkerMetrics
from trainer.metrics.usage import Usage
from trainer.storage import open_store

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_engine(monkeypatch)


def values(registry: Registry) -> dict[tuple[str, ...], float | Distribution]:
    return {(s.definition.name.removeprefix("training."), *s.labels): s.value for s in registry.samples()}


async def driven(folder: Path, group: FakeGroup) -> Registry:
    """A job that was driven to its end, observed as the chief observes it."""
    wanted, registry = spec(folder), Registry()
    log = EventLog(job_id="job", sink=JsonLines(io.StringIO()), progress_every_s=0.0)
    metrics = JobMetrics(registry=registry, spec=wanted)
    log.observers.append(metrics.event)
    store = Checkpoints(store=open_store(wanted.output.checkpoints), spec_sha256=spec_sha256(wanted))
    epoch, found = store.take_over(wanted.job_id)
    metrics.took_over(epoch)
    await Driver(spec=wanted, group=group, checkpoints=store, log=log, epoch=epoch, found=found).run()
    metrics.ended(Outcome(job_id="job"))
    return registry


async def test_a_job_s_metrics_follow_from_its_log(tmp_path: Path) -> None:
    made = values(await driven(tmp_path, FakeGroup()))
    assert made["progress.iterations_completed", "job", "m"] == 10
    # 10 rounds, and 10 rows in shards of 4, 3, 2 and 1 for three workers.
    assert sum(v for k, v in made.items() if k[0] == "progress.records_processed" and isinstance(v, float)) == 100
    assert made["progress.records_processed", "job", "0"] == 40
    assert made["chief.restarts", "job", "m"] == 0
    assert [made["job.status", "m", s] for s in ("running", "succeeded", "failed")] == [0, 1, 0]
    for name in ("checkpoint.seconds", "checkpoint.bytes"):
        found = made[name, "job", "m"]
        assert isinstance(found, Distribution)
        assert found.count == 3
    assert ("recovery.seconds", "job", "m") not in made


async def test_a_recovery_is_timed(tmp_path: Path) -> None:
    def lose() -> None:
        raise GroupLostError(FailureReason.WORKERS_LOST, "worker 1 is gone", [1])

    registry = await driven(tmp_path, FakeGroup(break_at={("train", 1): lose}))
    made = values(registry)
    assert made["progress.iterations_completed", "job", "m"] == 10
    recovery = made["recovery.seconds", "job", "m"]
    assert isinstance(recovery, Distribution)
    assert recovery.count == 1
    assert registry.refused == 0


def test_a_second_chief_and_a_failure_are_seen(tmp_path: Path) -> None:
    registry = Registry()
    metrics = JobMetrics(registry=registry, spec=spec(tmp_path))
    assert values(registry)["job.status", "m", "running"] == 1
    metrics.took_over(3)
    metrics.ended(Outcome(job_id="job", reason=FailureReason.OUT_OF_MEMORY))
    made = values(registry)
    assert made["chief.restarts", "job", "m"] == 2
    assert [made["job.status", "m", s] for s in ("running", "succeeded", "failed")] == [0, 0, 1]


def test_an_observer_that_fails_does_not_end_what_it_observes() -> None:
    stream, log = io.StringIO(), None
    log = EventLog(job_id="job", sink=JsonLines(stream))
    log.observers.append(lambda event, fields: 1 / 0)
    log.info("group", "ready")
    assert '"event":"group"' in stream.getvalue()


@pytest.fixture
def container(tmp_path: Path) -> Callable[..., Usage]:
    def make(limit: str, **changes: Any) -> Usage:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text("900\n")
        (tmp_path / "memory.stat").write_text("anon 700\ninactive_file 150\n")
        return Usage(cgroup=tmp_path, **changes)

    return make


def test_a_container_with_a_limit_counts_as_the_kubelet_does(container: Callable[..., Usage]) -> None:
    usage = container("1000")
    assert (usage.memory_limit(), usage.memory()) == (1000, 750)
    assert container("1000", limit_bytes=500).memory_limit() == 500


def test_without_a_limit_the_processes_are_counted_and_the_machine_is_the_limit(
    container: Callable[..., Usage],
) -> None:
    usage = container("max")
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert usage.memory_limit() == machine
    assert 10 * 2**20 < usage.memory() < machine


def test_cpu_is_a_share_of_what_the_worker_may_use() -> None:
    now: Iterator[float] = iter((0.0, 0.001, 1000.0))
    usage = Usage(clock=lambda: next(now))
    assert usage.cpu_percent() is None
    sum(range(2_000_000))
    assert usage.cpu_percent() == 100.0  # more than the clock says has passed: cut to what is possible
    idle = usage.cpu_percent()
    assert idle is not None
    assert idle < 10


def test_a_worker_is_looked_at_when_its_metrics_are_asked_for(container: Callable[..., Usage]) -> None:
    registry, now = Registry(), [100.0]
    WorkerMetrics(registry=registry, job_id="job", index=3, usage=container("1000"), clock=lambda: now[0])
    assert values(registry)["worker.heartbeat", "job", "3"] == 100
    now[0] = 200.0
    made = values(registry)
    assert made["worker.heartbeat", "job", "3"] == 200
    assert (made["worker.memory_usage_bytes", "job", "3"], made["worker.memory_limit_bytes", "job", "3"]) == (750, 1000)
    assert ("worker.cpu_utilization", "job", "3") in made


def test_a_pod_exports_nothing_unless_it_is_told_to() -> None:
    log = EventLog(job_id="job", sink=JsonLines(io.StringIO()))
    with exported(read_environment({}), "chief", log) as metrics:
        assert metrics.page() is None
    with exported(read_environment({"TRAINING_METRICS": "prometheus"}), "chief", log) as metrics:
        metrics.registry.set("training.jobs_queued", 4)
        assert "\ntraining_jobs_queued 4\n" in str(metrics.page())
