"""Metrics to Cloud Monitoring, from a thread of their own, straight through Google's client.

Cloud Monitoring takes a point of a series every few seconds and no older ones after it, so there is no queue: every
write sends each series as it is by then. An outage costs the points that were due in it and nothing else, because
counters and histograms are sums since the process began.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.contract import cloud_points
from trainer.contract.cloud_points import LEAST_S, MOST_A_CALL, Destination, Interval
from trainer.metrics.registry import Distribution, Labels, Registry, Sample

#: Of one series a point in this time.
INTERVAL_S = 10.0
DEADLINE_S = 5.0
#: gRPC itself would look for a server that was away only after up to two minutes, and refuse every call meanwhile.
CHANNEL = (("grpc.max_reconnect_backoff_ms", 5000),)
#: After a failure the next try waits for twice as long as before, up to this.
LONGEST_WAIT_S = 160.0
#: A process that ends gives its last points this long, and less where Cloud Monitoring did not answer before.
FLUSH_S = 8.0
FLUSH_IN_OUTAGE_S = 2.0


def google_client(endpoint: str) -> Any:
    """Google's client; with ``endpoint`` one that talks to it without encryption and credentials."""
    import grpc
    from google.cloud import monitoring_v3
    from google.cloud.monitoring_v3.services.metric_service.transports import MetricServiceGrpcTransport as Transport

    if endpoint:
        channel = grpc.insecure_channel(endpoint, options=CHANNEL)
    else:
        channel = Transport.create_channel(options=CHANNEL)
    return monitoring_v3.MetricServiceClient(transport=Transport(channel=channel))


@dataclass(kw_only=True)
class CloudExporter:
    """Writes ``registry`` every ``interval_s`` seconds while it is started.

    ``say`` hears of a first failure, and of the first success after it.
    """

    registry: Registry
    destination: Destination
    say: Callable[[str], None]
    connect: Callable[[str], Any] = google_client
    interval_s: float = INTERVAL_S
    deadline_s: float = DEADLINE_S
    clock: Callable[[], float] = time.monotonic
    failures: int = 0
    invalid: int = 0
    _client: Any = None
    _written: dict[tuple[str, Labels], float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write; returns at once. Not even the client is made here: credentials may take their time."""
        self._thread = threading.Thread(target=self._run, name="cloud-monitoring", daemon=True)
        self._thread.start()

    def close(self, within_s: float = FLUSH_S) -> None:
        """Write once more and end; at most ``within_s`` seconds, then what is left is left."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(min(within_s, FLUSH_IN_OUTAGE_S) if self.failures else within_s)

    def wait_s(self) -> float:
        """How long until the next write: longer after each failure in a row."""
        return min(self.interval_s * 2**self.failures, max(LONGEST_WAIT_S, self.interval_s))

    def write(self) -> None:
        """Write every series that is due; never raises. What failed is tried with the next write."""
        now = self.clock()
        due = [s for s in self.registry.samples() if now - self._written.get(_key(s), float("-inf")) >= self._least_s]
        try:
            for batch in _batches(due):
                self._offer(batch)
                self._written.update((_key(sample), now) for sample in batch)
        except Exception as e:  # noqa: BLE001 - whatever it is, training goes on and the next write tries again
            self.failures += 1
            if self.failures == 1:
                self.say(f"metrics could not be written to Cloud Monitoring ({_named(e)}); training goes on")
            return
        if self.failures and due:
            self.say(f"metrics are written to Cloud Monitoring again, after {self.failures} failures")
        self.failures = 0

    @property
    def _least_s(self) -> float:
        return min(LEAST_S, self.interval_s)

    def _run(self) -> None:
        while not self._stop.wait(self.wait_s()):
            self.write()
        # The last values are those that people look at; a series that was just written has to wait for its turn.
        newest = max(self._written.values(), default=float("-inf"))
        time.sleep(max(0.0, min(self._least_s, newest + self._least_s - self.clock())))
        self.write()

    def _offer(self, samples: Sequence[Sample]) -> None:
        """Send ``samples``. Points that the API calls invalid are lost, those beside them not: no reason to wait."""
        try:
            self._call(samples)
        except Exception as e:
            if getattr(getattr(e, "grpc_status_code", None), "name", "") != "INVALID_ARGUMENT":
                raise
            self.invalid += 1
            if self.invalid == 1:
                self.say(f"Cloud Monitoring did not take some metrics ({_named(e)}); training goes on")

    def _call(self, samples: Sequence[Sample]) -> None:
        if self._client is None:
            self._client = self.connect(self.destination.endpoint)
        interval = Interval(self.registry.began, self.registry.clock())
        series = [_series(sample, self.destination, interval) for sample in samples]
        # No retries of the client's own: they would send a point that is older than the next one.
        self._client.create_time_series(
            name=f"projects/{self.destination.project}", time_series=series, timeout=self.deadline_s, retry=None
        )


def _key(sample: Sample) -> tuple[str, Labels]:
    return sample.definition.name, sample.labels


def _batches(samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    for first in itertools.count(0, MOST_A_CALL):
        if first >= len(samples):
            return
        yield samples[first : first + MOST_A_CALL]


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"


def _series(sample: Sample, destination: Destination, interval: Interval) -> Any:
    definition, value = sample.definition, sample.value
    if isinstance(value, Distribution):
        typed = cloud_points.distribution(definition.bounds, value.counts, value.total)
    else:
        typed = cloud_points.number(value)
    return cloud_points.point(definition, sample.labels, typed, destination, interval)
