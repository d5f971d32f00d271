"""What the evaluation pod is to do: :class:`EvaluationSpec`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from trainer.contract.fields import Document, require
from trainer.contract.spec import JOB_ID, TABLE, Engine, Objective

#: The name of a breakdown is read by people, and a column of the snapshot is named after it.
BREAKDOWN = re.compile(r"[a-z][a-z0-9 _]{0,39}")
COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ChampionModel:
    """The version that serves now, to compare a new one with on the same rows."""

    version: str
    engine: Engine
    model_uri: str
    model_sha256: str
    features: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveSpec:
    """A curve: the prediction over ``feature`` from ``low`` to ``high``, everything else as it was.

    ``groups`` maps the name of a group to the feature that is 1 in its rows. With ``rises`` physics says that the curve
    of each group goes up, and a model whose curve does not is never promoted.
    """

    feature: str
    low: float
    high: float
    groups: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""
    rises: bool = False

    def __post_init__(self) -> None:
        require(self.low < self.high, "high", f"is {self.high}; more than low, {self.low}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Breakdown:
    """The error by groups of test rows that a person would ask for, such as circuits.

    Groups are the values of ``column`` of the strategy table, which is no feature by that; with ``bands``, the lower
    ends of ranges in ascending order, its numbers are put into ranges. Or ``flags`` maps the name of a group to the
    feature that is 1 in its rows.
    """

    name: str
    column: str = ""
    bands: tuple[float, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fits = bool(BREAKDOWN.fullmatch(self.name))
        require(fits, "name", f"is {self.name!r}; a small letter, then small letters, digits, blanks and _")
        require(bool(self.column) != bool(self.flags), "column", "or flags: give one of them")
        fits = not self.column or bool(COLUMN.fullmatch(self.column))
        require(fits, "column", f"is {self.column!r}; a column's name")
        require(bool(self.column) or not self.bands, "bands", "go with a column")
        ascending = list(self.bands) == sorted(set(self.bands))
        require(ascending, "bands", f"are {list(self.bands)}; the lower ends of ranges, in ascending order")

    @property
    def snapshot_column(self) -> str:
        """Its column in the snapshot of the test rows, text; "" where it is made of features."""
        return f"by_{self.name.replace(' ', '_')}" if self.column else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRows:
    """Some of the rows that the model was trained on: whole ``shards`` of ``split``, of which at most ``most`` are
    used.
    """

    table: str
    split: str
    shards: tuple[int, ...]
    most: int

    def __post_init__(self) -> None:
        require(bool(TABLE.fullmatch(self.table)), "table", f"is {self.table!r}; expected project.dataset.table")
        require(bool(self.shards), "shards", "is empty")
        require(self.most >= 1, "most", f"is {self.most}; 1 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSpec(Document):
    """Score one finished model on rows it never saw.

    ``table`` has the columns of :class:`SnapshotRef`; ``split`` picks its rows. ``baseline`` is the naive constant
    prediction, in the target's unit. ``output`` is the URI of the metrics document to write. ``champion`` is scored on
    the same rows, where there is one, and so is a linear model, fitted on the rows of ``linear``.
    """

    KIND: ClassVar[str] = "evaluation-spec"

    job_id: str
    model_type: str
    engine: Engine
    objective: Objective
    model_uri: str
    model_sha256: str
    features: tuple[str, ...]
    table: str
    split: str
    output: str
    target: str = "target"
    classes: int = 0
    unit: str = ""
    baseline: float = 0.0
    threads: int = 1
    champion: ChampionModel | None = None
    curves: tuple[CurveSpec, ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()
    linear: TrainingRows | None = None

    def __post_init__(self) -> None:
        require(
            bool(JOB_ID.fullmatch(self.job_id)), "job_id", f"is {self.job_id!r}; a DNS label of at most 48 characters"
        )
        require(bool(self.features), "features", "is empty")
        require(bool(TABLE.fullmatch(self.table)), "table", f"is {self.table!r}; expected project.dataset.table")
        for name in ("model_uri", "output"):
            require("://" in getattr(self, name), name, f"is {getattr(self, name)!r}; expected a URI")
