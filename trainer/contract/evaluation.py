"""What an evaluation found: :class:`EvaluationResult`, written by the evaluation pod, read by the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from trainer.contract.fields import Document, require

#: What an evaluation measures; of the linear baseline where there are training rows to fit it on. In the target's unit
#: but ``r2``. ``baseline`` is the naive constant prediction, for a classifier its most frequent class;
#: ``calibration_error`` the expected one, over tenths of the probability.
REGRESSION_METRICS = ("test_mae", "rmse", "r2", "baseline_mae", "linear_mae")
CLASSIFIER_METRICS = (
    "accuracy",
    "log_loss",
    "macro_f1",
    "calibration_error",
    "baseline_accuracy",
    "baseline_macro_f1",
    "linear_log_loss",
    "linear_macro_f1",
)
#: Those in the target's unit.
IN_UNIT = ("test_mae", "rmse", "baseline_mae", "linear_mae")


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
class LinearBaseline:
    """The model beside a linear one on the same rows: ridge regression, or multinomial logistic regression.

    ``metric`` is what both are compared by, lower is better; ``own`` and ``linear`` are its values, ``difference`` is
    negative where the model is better, with its ``interval`` by a paired bootstrap over groups. ``rows`` are the
    training rows that the linear model was fitted on.
    """

    metric: str
    own: float
    linear: float
    difference: float
    interval: Interval
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """The mean prediction of a group's rows over a feature, with intervals by a bootstrap over groups of rows.

    ``at`` are the feature's values, ``mean``, ``low`` and ``high`` the predictions there, less the mean at the first.
    ``slope`` is the rise a unit of the feature over the whole range, ``slope_interval`` its interval. With ``rises``
    physics says that it goes up.
    """

    name: str
    rows: int
    at: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    slope: float
    slope_interval: Interval
    feature: str = ""
    unit: str = ""
    rises: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """How many rows have a target in a row and a prediction in a column of a square grid over the same ``edges``."""

    edges: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What is predicted beside what happens, in bins of the prediction: ``rows``, ``predicted`` and ``actual`` of each.

    Of a regression the bins are tenths of the rows, the numbers means in the target's unit, and ``slope`` is that of
    actual over predicted: below 1 where the model exaggerates. Of a classifier the bins are tenths of the probability
    of the class that it names, and ``actual`` is how often that is right.
    """

    rows: tuple[int, ...]
    predicted: tuple[float, ...]
    actual: tuple[float, ...]
    slope: float = 0.0

    def __post_init__(self) -> None:
        same = len(self.rows) == len(self.predicted) == len(self.actual)
        require(same, "rows", "predicted and actual differ in length")


@dataclass(frozen=True, kw_only=True, slots=True)
class Details:
    """What a report shows beside the metrics.

    ``effects`` is the mean size of each feature's contribution to a prediction (SHAP values from the library itself),
    in the target's unit, or for classifiers in log-odds; from ``effect_rows`` rows. ``grid`` is of a regression,
    ``confusion`` of a classifier: rows of each true class, in order of the class that was named.

    Documents of before there were several curves say once for all of them what each says itself now: ``curve_feature``,
    ``curve_unit`` and ``curve_rises``. Read :attr:`drawn`.
    """

    effects: Mapping[str, float]
    effect_rows: int
    curves: tuple[Curve, ...] = ()
    curve_feature: str = ""
    curve_unit: str = ""
    curve_rises: bool = False
    grid: Grid | None = None
    calibration: Calibration | None = None
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def drawn(self) -> tuple[Curve, ...]:
        """The curves, each with its feature, unit and direction, however old the document is."""
        return tuple(
            curve
            if curve.feature
            else replace(curve, feature=self.curve_feature, unit=self.curve_unit, rises=self.curve_rises)
            for curve in self.curves
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationResult(Document):
    """One model's score on rows it never saw, in the target's unit.

    ``metrics`` are some of :data:`REGRESSION_METRICS` or of :data:`CLASSIFIER_METRICS`. ``by_group`` is ordered by
    group and adds up to ``rows``, so that two models can be compared group by group; ``breakdowns`` are other groups of
    the same rows, each by its name. ``intervals`` maps a metric's name to its interval. ``comparison`` is with the
    champion of the time, where there was one, ``linear`` with a linear model.
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
    linear: LinearBaseline | None = None
    breakdowns: Mapping[str, tuple[GroupScore, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        total = sum(g.rows for g in self.by_group)
        require(self.rows == total, "rows", f"is {self.rows}, the groups have {total}")
