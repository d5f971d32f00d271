"""From what a chief says to metrics, and from what a worker's machine says.

The chief's event log says all that its metrics are made of; so they are made of that, and the driver knows nothing of
metrics.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer.contract import Outcome, TrainingSpec
from trainer.metrics.registry import Registry
from trainer.metrics.usage import Usage

STATUSES = ("running", "succeeded", "failed")


@dataclass(kw_only=True)
class JobMetrics:
    """The metrics of one job; ``event`` is given to the chief's log as an observer."""

    registry: Registry
    spec: TrainingSpec
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)
    _lost_at: float | None = None
    _round: int = 0
    _boundary: int = 0
    _rows: Mapping[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._labels = {"job_id": self.spec.job_id, "model_type": self.spec.model_type}
        self._status("running")
        self.registry.add("training.progress.iterations_completed", 0, **self._labels)
        self.registry.before_export(self._refresh)

    def took_over(self, epoch: int) -> None:
        """The chief has ``epoch``; every epoch before was another chief's."""
        self.registry.set("training.chief.restarts", epoch - 1, **self._labels)

    def ended(self, outcome: Outcome) -> None:
        """The job is over."""
        self._refresh()
        self._status("succeeded" if outcome.succeeded else "failed")

    def event(self, event: str, fields: Mapping[str, Any]) -> None:
        """The chief's log says that ``event`` happened."""
        if event == "group":
            self._group(fields)
        elif event == "lost":
            self._lost_at = self._lost_at or self.clock()
        elif event in ("training", "progress"):
            self._at(int(fields["round"]))
            if event == "training" and self._lost_at is not None:
                self.registry.observe("training.recovery.seconds", self.clock() - self._lost_at, **self._labels)
                self._lost_at = None
        elif event == "boundary":
            self._at(int(fields["round"]))
            self._trained(int(fields["round"]))
        elif event == "committed":
            self.registry.observe("training.checkpoint.seconds", float(fields["seconds"]), **self._labels)
            self.registry.observe("training.checkpoint.bytes", float(fields["bytes"]), **self._labels)

    def _group(self, fields: Mapping[str, Any]) -> None:
        self._rows = {int(rank["worker"]): int(rank["rows"]) for rank in fields["ranks"]}
        self._round = self._boundary = int(fields["round"])

    def _at(self, boosting_round: int) -> None:
        rounds = boosting_round - self._round
        if rounds > 0:
            self._round = boosting_round
            self.registry.add("training.progress.iterations_completed", rounds, **self._labels)

    def _trained(self, boosting_round: int) -> None:
        rounds, self._boundary = boosting_round - self._boundary, boosting_round
        for worker, rows in self._rows.items():
            self.registry.add(
                "training.progress.records_processed", rows * rounds, job_id=self.spec.job_id, worker_index=worker
            )

    def _refresh(self) -> None:
        self.registry.set("training.job.duration_seconds", self.clock() - self._began, **self._labels)

    def _status(self, status: str) -> None:
        for one in STATUSES:
            self.registry.set("training.job.status", one == status, model_type=self.spec.model_type, status=one)


@dataclass(kw_only=True)
class WorkerMetrics:
    """What a worker uses, looked at when its metrics are exported."""

    registry: Registry
    job_id: str
    index: int
    usage: Usage
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self.usage.cpu_percent()
        self.registry.before_export(self._refresh)

    def _refresh(self) -> None:
        labels = {"job_id": self.job_id, "worker_index": self.index}
        record = self.registry.set
        record("training.worker.heartbeat", self.clock(), **labels)
        record("training.worker.memory_limit_bytes", self.usage.memory_limit(), **labels)
        record("training.worker.memory_usage_bytes", self.usage.memory(), **labels)
        cpu = self.usage.cpu_percent()
        if cpu is not None:
            record("training.worker.cpu_utilization", cpu, **labels)
