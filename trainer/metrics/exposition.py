"""Prometheus' text format, version 0.0.4: what ``GET /metrics`` answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import accumulate

from trainer.metrics.registry import Distribution, Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(samples: Iterable[Sample]) -> str:
    """The page for ``samples``; series of one metric stand together."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.definition.prometheus_name, []).append(sample)
    return "".join(f"{line}\n" for name in sorted(by_name) for line in _metric(name, by_name[name]))


def _metric(name: str, samples: list[Sample]) -> Iterator[str]:
    definition = samples[0].definition
    yield f"# HELP {name} {_escaped(definition.help)}"
    yield f"# TYPE {name} {definition.kind.value}"
    for sample in samples:
        labels = list(zip(definition.labels, sample.labels, strict=True))
        if not isinstance(sample.value, Distribution):
            yield f"{name}{_braces(labels)} {_number(sample.value)}"
            continue
        bounds = (*map(_number, definition.bounds), "+Inf")
        for bound, count in zip(bounds, accumulate(sample.value.counts), strict=True):
            yield f"{name}_bucket{_braces([*labels, ('le', bound)])} {count}"
        yield f"{name}_sum{_braces(labels)} {_number(sample.value.total)}"
        yield f"{name}_count{_braces(labels)} {sample.value.count}"


def _braces(labels: list[tuple[str, str]]) -> str:
    inside = ",".join(f'{name}="{_quoted(value)}"' for name, value in labels)
    return f"{{{inside}}}" if inside else ""


def _number(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
