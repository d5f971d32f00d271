"""Where a pod's metrics go, as its environment says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from trainer.contract.cloud_points import Destination
from trainer.contract.metrics import Exporter
from trainer.environment import PodEnvironment
from trainer.logs import EventLog
from trainer.metrics.cloud import FLUSH_S, CloudExporter
from trainer.metrics.exposition import exposition
from trainer.metrics.registry import Registry


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """A pod's registry, and what ``GET /metrics`` answers (None: it is not served)."""

    registry: Registry = field(default_factory=Registry)
    serves: bool = False

    def page(self) -> str | None:
        """Prometheus' text format."""
        return exposition(self.registry.samples()) if self.serves else None


@contextlib.contextmanager
def exported(pod: PodEnvironment, task: str, log: EventLog, flush_s: float = FLUSH_S) -> Iterator[Exported]:
    """Export while the block runs, and once more at its end. ``task`` names the pod's role and worker.

    The end may take ``flush_s`` seconds: how the pod ended should be said before.
    """
    registry = Registry()
    cloud = None
    if Exporter.CLOUD_MONITORING in pod.metrics.exporters:
        cloud = CloudExporter(
            registry=registry,
            destination=Destination(
                project=pod.metrics.project,
                location=pod.metrics.location,
                namespace=pod.metrics.namespace,
                job=pod.job_id or log.job_id,
                task=f"{task}-{pod.attempt}",
                endpoint=pod.metrics.endpoint,
            ),
            say=lambda text: log.warning("metrics", text),
        )
        cloud.start()
    try:
        yield Exported(registry=registry, serves=Exporter.PROMETHEUS in pod.metrics.exporters)
    finally:
        if cloud is not None:
            cloud.close(flush_s)
