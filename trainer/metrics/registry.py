"""What was recorded, in memory. Recording takes microseconds, waits for nobody and never raises."""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from trainer.contract.metrics import METRICS, MOST_SERIES, MetricDefinition, MetricKind

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram's observations. ``counts`` has one more than there are bounds: what is above the last."""

    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def with_value(self, bounds: tuple[float, ...], value: float) -> Distribution:
        """These and one more."""
        counts = list(self.counts)
        counts[bisect.bisect_left(bounds, value)] += 1
        return Distribution(tuple(counts), self.total + value)


@dataclass(frozen=True, slots=True)
class Sample:
    """One series as it is now; ``labels`` are the values of its definition's labels, in that order."""

    definition: MetricDefinition
    labels: Labels
    value: float | Distribution


@dataclass
class Registry:
    """The series of one process, at most ``MOST_SERIES`` of a metric.

    What is refused (an unknown name, other labels than the table's, one series too many, no number) is only counted, in
    ``refused``: a metric is worth less than the training that it is about.
    """

    clock: Callable[[], float] = time.time
    refused: int = 0
    began: float = field(init=False)
    _series: dict[str, dict[Labels, float | Distribution]] = field(default_factory=dict)
    _before: list[Callable[[], None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def set(self, name: str, value: float, **labels: object) -> None:
        """A gauge is ``value`` now."""
        self._record(name, MetricKind.GAUGE, value, labels)

    def add(self, name: str, amount: float, **labels: object) -> None:
        """A counter has grown by ``amount``; 0 makes it known."""
        self._record(name, MetricKind.COUNTER, amount, labels)

    def observe(self, name: str, value: float, **labels: object) -> None:
        """A histogram has one more observation."""
        self._record(name, MetricKind.HISTOGRAM, value, labels)

    def before_export(self, refresh: Callable[[], None]) -> None:
        """Call ``refresh`` before samples are taken, for gauges that are looked at instead of told."""
        self._before.append(refresh)

    def samples(self) -> list[Sample]:
        """Every series as it is now."""
        for refresh in self._before:
            try:
                refresh()
            except Exception:  # noqa: BLE001 - what cannot be looked at now is left as it was
                self.refused += 1
        with self._lock:
            return [Sample(METRICS[name], *item) for name, series in self._series.items() for item in series.items()]

    def _record(self, name: str, kind: MetricKind, value: float, labels: dict[str, object]) -> None:
        try:
            definition = METRICS[name]
            key = tuple(str(labels.pop(label)) for label in definition.labels)
            amount = float(value)
            fits = definition.kind is kind and not labels and amount - amount == 0.0
            if not fits or (kind is MetricKind.COUNTER and amount < 0):
                self.refused += 1
                return
            with self._lock:
                series = self._series.setdefault(name, {})
                if key not in series and len(series) >= MOST_SERIES:
                    self.refused += 1
                    return
                series[key] = _next(definition, series.get(key), amount)
        except Exception:  # noqa: BLE001 - see the class
            self.refused += 1


def _next(definition: MetricDefinition, now: float | Distribution | None, amount: float) -> float | Distribution:
    if definition.kind is MetricKind.HISTOGRAM:
        known = now if isinstance(now, Distribution) else Distribution((0,) * (len(definition.bounds) + 1), 0.0)
        return known.with_value(definition.bounds, amount)
    if definition.kind is MetricKind.COUNTER and isinstance(now, float):
        return now + amount
    return amount
