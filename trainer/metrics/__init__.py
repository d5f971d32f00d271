"""Metrics of a pod: recorded in memory, exported beside the work. Nothing here may slow training down or end it."""

from trainer.metrics.registry import Distribution, Registry, Sample

__all__ = ["Distribution", "Registry", "Sample"]
