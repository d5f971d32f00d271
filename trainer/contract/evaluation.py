"""What an evaluation found: :class:`EvaluationResult`, written by the evaluation pod, read by the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from trainer.contract.fields import Document, require


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupScore:
    """The score of one group of rows (a race): its mean absolute error, or for a classifier its accuracy."""

    group: str
    rows: int
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Where a metric lies with probability ``level``, by a bootstrap over groups."""

    low: float
    high: float
    level: float = 0.95

    def __post_init__(self) -> None:
        require(self.low <= self.high, "low", f"{self.low} is above high, {self.high}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The model beside the champion ``version``, on the same rows.

    ``metric`` is what both are compared by, lower is better; ``own`` and ``champion`` are its values, ``difference`` is
    their difference, negative where the new model is better, with its ``interval`` by a paired bootstrap over groups.
    ``problem`` says why they could not be compared; everything else is then empty.
    """

    version: str
    metric: str = ""
    own: float = 0.0
    champion: float = 0.0
    difference: float = 0.0
    interval: Interval | None = None
    problem: str = ""

    def __post_init__(self) -> None:
        require(bool(self.problem) != (self.interval is not None), "interval", "is there unless there is a problem")


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """The mean prediction of a group's rows over a feature, with intervals by a bootstrap over groups of rows.

    ``at`` are the feature's values, ``mean``, ``low`` and ``high`` the predictions there, less the mean at the first.
    ``slope`` is the rise a unit of the feature over the whole range, ``slope_interval`` its interval.
    """

    name: str
    rows: int
    at: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    slope: float
    slope_interval: Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """How many rows have a target in a row and a prediction in a column of a square grid over the same ``edges``."""

    edges: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Details:
    """What a report shows beside the metrics.

    ``effects`` is the mean size of each feature's contribution to a prediction (SHAP values from the library itself),
    in the target's unit, or for classifiers in log-odds; from ``effect_rows`` rows. ``grid`` is of a regression.
    """

    effects: Mapping[str, float]
    effect_rows: int
    curves: tuple[Curve, ...] = ()
    curve_feature: str = ""
    curve_unit: str = ""
    curve_rises: bool = False
    grid: Grid | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationResult(Document):
    """One model's score on rows it never saw, in the target's unit.

    ``metrics`` of a regression: ``test_mae``, ``baseline_mae``, ``rmse``; of a classifier: ``accuracy``,
    ``baseline_accuracy``, ``log_loss``, ``macro_f1``. ``by_group`` is ordered by group and adds up to ``rows``, so that
    two models can be compared group by group. ``intervals`` maps a metric's name to its interval. ``comparison`` is
    with the champion of the time, where there was one.
    """

    KIND: ClassVar[str] = "evaluation-result"

    job_id: str
    model_type: str
    model_uri: str
    model_sha256: str
    table: str
    split: str
    rows: int
    metrics: Mapping[str, float]
    by_group: tuple[GroupScore, ...]
    intervals: Mapping[str, Interval]
    unit: str = ""
    bootstrap_seed: int = 0
    comparison: Comparison | None = None
    details: Details | None = None

    def __post_init__(self) -> None:
        total = sum(g.rows for g in self.by_group)
        require(self.rows == total, "rows", f"is {self.rows}, the groups have {total}")
