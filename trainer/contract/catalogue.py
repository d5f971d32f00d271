"""The model catalogue: what can be trained, one TOML file a model in ``trainer/contract/models``."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainer.contract.evaluation import CLASSIFIER_METRICS, REGRESSION_METRICS
from trainer.contract.evaluation_spec import Breakdown
from trainer.contract.fields import ContractError, Scalar, decode, require
from trainer.contract.spec import Device, Engine, Metric, Objective

FOLDER = Path(__file__).parent / "models"
SCHEMA = 1
QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|[MGT]|[KMGT]i)?")
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class CatalogueError(ValueError):
    """A catalogue file is wrong, or names nothing that is there. The message names file, field and reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """Default tables of the data set ``f1_strategy`` for each purpose."""

    train: str = "train"
    validation: str = "validation"
    test: str = "test"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChecksEntry:
    """Thresholds of the checks on the snapshot: share of non-null values, number of training rows.

    ``sparse`` features are known to be often null; of them only one that is always null is refused.
    """

    min_completeness: float = 0.95
    min_rows: int = 1
    sparse: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(0 <= self.min_completeness <= 1, "min_completeness", f"is {self.min_completeness}; 0 to 1")
        require(self.min_rows >= 1, "min_rows", f"is {self.min_rows}; 1 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveEntry:
    """What the report shows as a curve: the prediction over ``feature`` from ``low`` to ``high``, all else as it was.

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
class GatesEntry:
    """What a version must reach to become champion, beside what it must always do: beat the champion, obey physics.

    ``most`` and ``least`` bound metrics of the evaluation, in its unit. With ``beats_baseline`` the naive constant
    prediction must be beaten; with ``beats_linear`` the model must not be worse than a linear one beyond the noise.
    """

    beats_baseline: bool = True
    beats_linear: bool = False
    most: Mapping[str, float] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What a pod requests, in Kubernetes quantities; ``machine_type`` selects the node pool where it is given.

    ``disk`` is node-local: the cache of the worker's shards as Arrow files, and scratch.
    """

    cpu: str
    memory: str
    disk: str = "10Gi"
    machine_type: str = ""

    def __post_init__(self) -> None:
        for name in ("cpu", "memory", "disk"):
            text = getattr(self, name)
            require(bool(QUANTITY.fullmatch(text)), name, f"is {text!r}; a Kubernetes quantity such as 500m or 24Gi")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelEntry:
    """One model of the catalogue. Field by field what the TOML file says; see ``models/tire_degradation.toml``."""

    model_type: str
    description: str
    owner: str
    engine: Engine
    objective: Objective
    metric: Metric
    target: str
    features: tuple[str, ...]
    eligible: str
    group: str
    keys: tuple[str, ...]
    rounds: int
    resources: Resources
    chief_resources: Resources
    unit: str = ""
    baseline: float = 0.0
    classes: int = 0
    early_stopping_rounds: int = 0
    seed: int = 0
    logical_shards: int = 40
    segment_rounds: int = 100
    max_workers: int = 10
    params: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    splits: Splits = field(default_factory=Splits)
    checks: ChecksEntry = field(default_factory=ChecksEntry)
    curves: tuple[CurveEntry, ...] = ()
    breakdown: tuple[Breakdown, ...] = ()
    gates: GatesEntry = field(default_factory=GatesEntry)
    class_names: tuple[str, ...] = ()
    simulated_target: str = ""

    def __post_init__(self) -> None:
        for name in (self.target, self.eligible, self.group, *self.features, *self.keys):
            require(bool(IDENTIFIER.fullmatch(name)), "features", f"{name!r} is not a column name")
        require(bool(self.features), "features", "is empty")
        require(self.target not in self.features, "features", f"holds the target {self.target!r}: that is leakage")
        strangers = sorted(set(self.checks.sparse) - set(self.features))
        require(not strangers, "checks.sparse", f"names {', '.join(strangers)}, which are no features")
        for engine in self.params:
            require(engine in tuple(Engine), f"params.{engine}", f"unknown engine; one of {', '.join(Engine)}")

    def engine_params(self, engine: Engine) -> Mapping[str, Scalar]:
        """The library's own parameters for ``engine``."""
        return self.params.get(engine.value, {})


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """All models that could be read; ``problems`` names the files that could not, so one bad file breaks no other."""

    entries: Mapping[str, ModelEntry]
    problems: tuple[str, ...] = ()

    def entry(self, model_type: str) -> ModelEntry:
        """The entry of ``model_type``.

        Raises:
            CatalogueError: there is none; the message lists those that are, and files that could not be read.
        """
        if model_type in self.entries:
            return self.entries[model_type]
        notes = "".join(f"; {p}" for p in self.problems)
        known = ", ".join(sorted(self.entries)) or "none"
        raise CatalogueError(f"unknown model type {model_type!r}; the catalogue has: {known}{notes}")


def _check_evaluation(entry: ModelEntry) -> None:
    """Refuse curves and breakdowns of what is no feature, and gates on what is not measured."""
    for number, curve in enumerate(entry.curves):
        for name in (curve.feature, *curve.groups.values()):
            require(name in entry.features, f"curves[{number}]", f"names {name!r}, which is no feature")
    for by in entry.breakdown:
        for name in by.flags.values():
            require(name in entry.features, f"breakdown {by.name}", f"names {name!r}, which is no feature")
        clash = by.snapshot_column in (*entry.features, entry.target)
        require(not clash, f"breakdown {by.name}", f"needs the column {by.snapshot_column!r}; rename the feature")
    names = [by.name.replace(" ", "_") for by in entry.breakdown]
    require(len(set(names)) == len(names), "breakdown", "has two of one name")
    classifier = entry.objective in (Objective.BINARY_LOGISTIC, Objective.MULTICLASS)
    known = CLASSIFIER_METRICS if classifier else REGRESSION_METRICS
    for kind in ("most", "least"):
        for metric in getattr(entry.gates, kind):
            require(metric in known, f"gates.{kind}.{metric}", f"is no metric of the evaluation: {', '.join(known)}")


def read_entry(path: Path) -> ModelEntry:
    """The entry in ``path``.

    Raises:
        CatalogueError: naming the file, the field and the reason.
    """
    try:
        body: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        schema = body.pop("schema", None)
        require(schema == SCHEMA, "schema", f"is {schema!r}; this package reads schema {SCHEMA}")
        entry = decode(ModelEntry, body, "")
        _check_evaluation(entry)
        require(entry.model_type == path.stem, "model_type", f"is {entry.model_type!r} in a file named {path.name}")
    except (ContractError, tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as e:
        raise CatalogueError(f"{path.name}: {e}") from e
    return entry


@functools.cache
def read_catalogue(folder: Path = FOLDER) -> Catalogue:
    """Every ``*.toml`` in ``folder``. Cached: a DAG file is parsed often, and the files belong to the package."""
    entries, problems = {}, []
    for path in sorted(folder.glob("*.toml")):
        try:
            entry = read_entry(path)
        except CatalogueError as e:
            problems.append(str(e))
        else:
            entries[entry.model_type] = entry
    return Catalogue(entries=entries, problems=tuple(problems))


def check_workers(entry: ModelEntry, workers: int) -> None:
    """Refuse more workers than the model can use.

    Raises:
        ContractError: naming ``num_workers``.
    """
    require(
        1 <= workers <= entry.max_workers,
        "num_workers",
        f"is {workers}; {entry.model_type} takes 1 to {entry.max_workers}",
    )


def device_for(engine: Engine, device: str) -> Device:
    """``device`` as asked for by a person: ``gpu`` means CUDA for XGBoost and OpenCL for LightGBM."""
    asked = device.lower()
    if asked in ("gpu", "cuda"):
        return Device.CUDA if engine is Engine.XGBOOST else Device.GPU
    require(asked == "cpu", "device", f"is {device!r}; cpu or gpu")
    return Device.CPU


def with_engine(entry: ModelEntry, engine: str | None) -> ModelEntry:
    """``entry`` trained with ``engine`` instead of its own; ``None`` keeps its own.

    Raises:
        ContractError: naming ``engine`` when there is no such engine.
    """
    if not engine:
        return entry
    require(engine in tuple(Engine), "engine", f"is {engine!r}; one of {', '.join(Engine)}")
    return replace(entry, engine=Engine(engine))
