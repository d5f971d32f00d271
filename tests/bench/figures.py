"""The figures: what each is called, its unit, and the bar that it has to hold."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A figure's unit and the most that it may be; None where it is only reported."""

    unit: str
    most: float | None


#: In the order of the table.
BARS: Mapping[str, Bar] = {
    "wall_vs_plain_2w": Bar(unit="ratio", most=1.20),
    "wall_vs_plain_1w": Bar(unit="ratio", most=1.03),
    "wall_vs_xgboost_dask": Bar(unit="ratio", most=0.90),
    "xgboost_dask_vs_plain": Bar(unit="ratio", most=None),
    "wall_vs_lightgbm_dask": Bar(unit="ratio", most=0.90),
    "lightgbm_vs_plain_2w": Bar(unit="ratio", most=None),
    "lightgbm_dask_vs_plain": Bar(unit="ratio", most=None),
    "dense_wall_vs_plain_2w": Bar(unit="ratio", most=None),
    "dense_wall_vs_xgboost_dask": Bar(unit="ratio", most=None),
    "dense_xgboost_dask_vs_plain": Bar(unit="ratio", most=None),
    "real_wall_vs_plain_2w": Bar(unit="ratio", most=None),
    "real_wall_vs_xgboost_dask": Bar(unit="ratio", most=None),
    "checkpoint_cost": Bar(unit="share", most=0.01),
    "metrics_cost": Bar(unit="share", most=0.01),
    "boundary_growth": Bar(unit="ratio", most=1.2),
    "chief_ms_per_boundary": Bar(unit="ms", most=50.0),
    "memory_over_arrow": Bar(unit="ratio", most=2.0),
    "source_scans": Bar(unit="scans", most=1.0),
    "ingest_s": Bar(unit="s", most=30.0),
    "process_s": Bar(unit="s", most=30.0),
    "checks_s": Bar(unit="s", most=None),
    "ingest_mib": Bar(unit="MiB", most=1024.0),
    "serve_p99_ms": Bar(unit="ms", most=10.0),
    "serve_failed": Bar(unit="requests", most=0.0),
    "recovery_kill9_s": Bar(unit="s", most=2.0),
    "recovery_vs_ray_train": Bar(unit="ratio", most=0.25),
    # A core's nanoseconds a row, feature and round; a row and feature; a row and tree. A worker's MiB of features a second.
    "round_ns": Bar(unit="ns", most=None),
    "build_ns": Bar(unit="ns", most=None),
    "restore_ns": Bar(unit="ns", most=None),
    "load_mib_s": Bar(unit="MiB/s", most=None),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One measured figure. ``value`` is None where it could not be measured; ``note`` says why, or on what."""

    figure: str
    value: float | None
    samples: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def bar(self) -> Bar:
        """What it is held against."""
        return BARS[self.figure]

    @property
    def holds(self) -> bool | None:
        """Whether the bar is held; None without a bar, False without a value."""
        if self.bar.most is None:
            return None
        return self.value is not None and self.value <= self.bar.most

    def line(self) -> str:
        """One JSON object."""
        body = asdict(self)
        value = None if self.value is None else round(self.value, 4)
        head = {"figure": self.figure, "value": value, "unit": self.bar.unit, "bar": self.bar.most, "holds": self.holds}
        return json.dumps({**head, "samples": body["samples"], "note": self.note})


def ratio(name: str, ours: Sequence[float], theirs: Sequence[float], **more: Any) -> Figure:
    """The ratio of medians, with the raw seconds of both; that of the quickest says how a quiet machine might judge."""
    note = str(more.pop("note", ""))
    quickest = round(min(ours) / min(theirs), 4)
    samples = {"ours": _rounded(ours), "peer": _rounded(theirs), "ratio_of_quickest": quickest, **more}
    return Figure(figure=name, value=statistics.median(ours) / statistics.median(theirs), samples=samples, note=note)


def missing(name: str, why: BaseException | str) -> Figure:
    """A figure that could not be measured."""
    return Figure(figure=name, value=None, note=why if isinstance(why, str) else f"{type(why).__name__}: {why}")


def table(figures: Sequence[Figure]) -> str:
    """For people."""
    rows = [("figure", "value", "unit", "bar", "holds")]
    for one in figures:
        value = "-" if one.value is None else f"{one.value:.3f}"
        bar = "" if one.bar.most is None else f"<= {one.bar.most:g}"
        rows.append((one.figure, value, one.bar.unit, bar, {True: "yes", False: "NO", None: ""}[one.holds]))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(v, 3) for v in values]
