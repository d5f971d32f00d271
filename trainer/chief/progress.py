"""Progress of training: the measured round time, the line at every boundary, the bar in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trainer.chief.record import Record
from trainer.contract import TrainingSpec
from trainer.logs import EventLog


@dataclass(kw_only=True)
class Progress:
    """Follows one job.

    ``round_s`` is the time of a round in the newest segment, None before the first boundary; ``measured_s`` the same as
    of the newest report, also in the running segment.
    """

    spec: TrainingSpec
    log: EventLog
    clock: Callable[[], float]
    round_s: float | None = None
    measured_s: float | None = None
    round: int = 0
    _first: int = 0
    _rounds: int = 0
    _began: float = 0.0
    _took_s: float = 0.0
    _new_group: bool = False

    def formed(self) -> None:
        """A group was formed: its first round is told, whenever that is."""
        self._new_group = True

    def begin(self, first_round: int, rounds: int) -> None:
        """A segment of ``rounds`` rounds after ``first_round`` begins."""
        self.round = self._first = first_round
        self._rounds, self._began = rounds, self.clock()

    def report(self, _worker: int, report: Mapping[str, Any]) -> None:
        """A rank is at a round; the furthest one is shown."""
        self.round = max(self.round, int(report.get("round", 0)))
        if self.round > self._first:
            self.measured_s = (self.clock() - self._began) / (self.round - self._first)
        if self._new_group:
            self._new_group = False
            seconds = round(self.clock() - self._began, 3)
            self.log.info("training", f"round {self.round} is trained", round=self.round, seconds=seconds)
        self.log.progress(self.round, self.spec.rounds)

    def end(self, rounds: int) -> None:
        """All ranks have trained the segment, which has ``rounds`` rounds: measure it."""
        self._took_s = max(self.clock() - self._began, 1e-9)
        self._rounds = rounds
        self.round_s = self.measured_s = self._took_s / rounds
        self.round = self._first + rounds

    def boundary(self, record: Record, work_s: float) -> None:
        """Say where the job is after the segment that was measured, and what the chief itself did for it."""
        seconds = self._took_s
        value = record.history[-1] if record.history else record.train_history[-1]
        best = record.early_stopping.best_value if record.history else min(record.train_history)
        rows_per_s = self.spec.snapshot.total(self.spec.train_split) * self._rounds / seconds
        rounds_left = 0 if record.early_stopping.stopped else self.spec.rounds - record.round
        eta_s = rounds_left * seconds / self._rounds
        metric, of = self.spec.metric.value, self.spec.rounds
        figures = f"{metric} {value:.6g} (best {best:.6g}), {rows_per_s:,.0f} rows/s, {eta_s:.0f} s left"
        self.log.info(
            "boundary",
            f"round {record.round}/{of}: {figures}",
            round=record.round,
            of=of,
            metric=metric,
            value=value,
            best=best,
            train=record.train_history[-1],
            rows_per_s=round(rows_per_s),
            seconds=round(seconds, 3),
            eta_s=round(eta_s, 1),
            work_s=round(work_s, 6),
        )

    def segment_left_s(self) -> float:
        """Seconds until the running segment should end, from the rounds reported so far; infinite before the first."""
        done = self.round - self._first
        if done <= 0:
            return float("inf") if self.round_s is None else self.round_s * self._rounds
        return (self.clock() - self._began) / done * (self._rounds - done)
