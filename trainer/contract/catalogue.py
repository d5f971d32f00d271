"""The model catalogue: what can be trained, one TOML file a model in ``trainer/contract/models``."""

from __future__ import annotations

import enum
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from trainer.contract.evaluation import CLASSIFIER_METRICS, REGRESSION_METRICS
from trainer.contract.evaluation_spec import Breakdown, CurveSpec
from trainer.contract.fields import ContractError, Scalar, decode, require
from trainer.contract.resources import Resources, check_machine
from trainer.contract.rules import Rule, check_rules
from trainer.contract.spec import (
    MAX_ROUNDS,
    MAX_SEGMENT_ROUNDS,
    MAX_SHARDS,
    MAX_WORKERS,
    Device,
    Engine,
    Metric,
    Objective,
    check_linear,
    check_objective,
    is_linear,
)

FOLDER = Path(__file__).parent / "models"
SCHEMA = 1
#: What a run is asked for to train every model that is trained weekly; so no model has this name.
ALL_MODELS = "all"

ModelName = Annotated[str, Rule(pattern=r"[a-z][a-z0-9_]{0,62}", called="lower-case letters, digits and _")]
Column = Annotated[str, Rule(pattern=r"[A-Za-z_][A-Za-z0-9_]{0,127}", called="a column name: letters, digits and _")]
Text = Annotated[str, Rule(filled=True)]


class CatalogueError(ValueError):
    """A catalogue file is wrong, or names nothing that is there. The message names file, field and reason."""


class Schedule(enum.StrEnum):
    """When a model is trained: by every run for all models, or only by a run that names it."""

    WEEKLY = "weekly"
    ON_DEMAND = "on_demand"


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """Default tables of the data set ``f1_strategy`` for each purpose.

    Args:
        train: Table of the rows that are trained on.
        validation: Table of the rows that decide early stopping.
        test: Table of the rows that the model is scored on.
    """

    train: Column = "train"
    validation: Column = "validation"
    test: Column = "test"

    def __post_init__(self) -> None:
        check_rules(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChecksEntry:
    """Thresholds of the checks on the snapshot.

    Args:
        min_completeness: Share of non-null values that every feature has at least.
        min_rows: Training rows at least.
        sparse: Features known to be often null; of them only one that is always null is refused.
    """

    min_completeness: Annotated[float, Rule(least=0, most=1)] = 0.95
    min_rows: Annotated[int, Rule(least=1)] = 1
    sparse: Annotated[tuple[Column, ...], Rule(distinct=True)] = ()

    def __post_init__(self) -> None:
        check_rules(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class CostEntry:
    """What a run of the model costs, as an estimate that says what it rests on.

    Args:
        usd_per_run: US dollars for one run with the model's own rounds and workers.
        basis: What the estimate rests on: machines, minutes, prices and their date.
    """

    usd_per_run: Annotated[float, Rule(least=0)]
    basis: Text

    def __post_init__(self) -> None:
        check_rules(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class GatesEntry:
    """What a version must reach to become champion, beside what it must always do: beat the champion, obey physics.

    Args:
        beats_baseline: The naive constant prediction must be beaten.
        beats_linear: The model must not be worse than a linear one beyond the noise.
        most: Upper bounds of metrics of the evaluation, in its unit.
        least: Lower bounds of metrics of the evaluation.
    """

    beats_baseline: bool = True
    beats_linear: bool = False
    most: Mapping[str, float] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelEntry:
    """One model of the catalogue. Field by field what the TOML file says; see ``models/tire_degradation.toml``.

    Args:
        model_type: The model's name, which is also its file's.
        description: What is predicted, from what.
        owner: The team that answers for the model.
        engine: Boosting library.
        objective: What is minimised.
        metric: What is reported a round, and decides early stopping; it has to fit the objective.
        target: Column of f1_strategy that is predicted.
        features: Columns of f1_strategy that the model sees: numbers known before the target is.
        eligible: Boolean column of f1_strategy: the rows that count.
        group: Column whose rows stay together, such as the race: on one shard, and drawn as one for intervals.
        keys: Columns that tell rows apart.
        rounds: Boosting rounds at most.
        resources: What a worker requests.
        chief_resources: What the chief requests.
        schedule: weekly, or on_demand: trained only by a run that names the model.
        unit: Unit of the target.
        baseline: The naive constant prediction, in the target's unit.
        simulated_target: Where the target is not measured in public: by which physics it was made.
        classes: Number of classes of a multiclass model; follows from class_names where they are given.
        class_names: Names of the classes 0, 1, 2, ... of a multiclass model.
        early_stopping_rounds: Rounds without a better metric that end training; 0 trains all rounds.
        seed: Base seed.
        logical_shards: Parts that the rows are dealt into; no more workers than these.
        segment_rounds: Rounds between two checkpoints.
        max_workers: Most workers that the model can use.
        params: The libraries' own parameters, a table an engine.
        splits: Tables of f1_strategy.
        checks: Thresholds of the checks on the snapshot.
        cost: Estimate of what a run costs.
        curves: What the report shows as curves.
        breakdown: By what the report tells the error apart.
        gates: What a version must reach to become champion.
    """

    model_type: ModelName
    description: Text
    owner: Text
    engine: Engine
    objective: Objective
    metric: Metric
    target: Column
    features: Annotated[tuple[Column, ...], Rule(filled=True, distinct=True)]
    eligible: Column
    group: Column
    keys: Annotated[tuple[Column, ...], Rule(filled=True, distinct=True)]
    rounds: Annotated[int, Rule(least=1, most=MAX_ROUNDS)]
    resources: Resources
    chief_resources: Resources
    schedule: Schedule = Schedule.WEEKLY
    unit: str = ""
    baseline: float = 0.0
    simulated_target: str = ""
    classes: Annotated[int, Rule(least=0)] = 0
    class_names: Annotated[tuple[Text, ...], Rule(distinct=True)] = ()
    early_stopping_rounds: Annotated[int, Rule(least=0, most=MAX_ROUNDS)] = 0
    seed: Annotated[int, Rule(least=0, most=2**31 - 1)] = 0
    logical_shards: Annotated[int, Rule(least=1, most=MAX_SHARDS)] = 40
    segment_rounds: Annotated[int, Rule(least=1, most=MAX_SEGMENT_ROUNDS)] = 100
    max_workers: Annotated[int, Rule(least=1, most=MAX_WORKERS)] = MAX_WORKERS
    cost: CostEntry | None = None
    params: Annotated[Mapping[str, Mapping[str, Scalar]], Rule(keys=tuple(Engine))] = field(default_factory=dict)
    splits: Splits = field(default_factory=Splits)
    checks: ChecksEntry = field(default_factory=ChecksEntry)
    curves: tuple[CurveSpec, ...] = ()
    breakdown: tuple[Breakdown, ...] = ()
    gates: GatesEntry = field(default_factory=GatesEntry)

    def __post_init__(self) -> None:
        check_rules(self)
        require(self.model_type != ALL_MODELS, "model_type", f"is {ALL_MODELS!r}, which means every model")
        self._check_classes()
        check_objective(self.objective, self.metric, self.classes)
        require(self.target not in self.features, "features", f"holds the target {self.target!r}: that is leakage")
        strangers = sorted(set(self.checks.sparse) - set(self.features))
        require(not strangers, "checks.sparse", f"names {', '.join(strangers)}, which are no features")
        check_machine(self.resources, "resources")
        check_machine(self.chief_resources, "chief_resources")
        if self.is_linear:
            check_linear(self.objective, self.early_stopping_rounds, self.max_workers, field_name="max_workers")

    def _check_classes(self) -> None:
        if not self.class_names:
            return
        named = len(self.class_names)
        fits = self.objective is Objective.MULTICLASS
        require(fits, "class_names", f"are for the objective multiclass, not {self.objective.value}")
        require(self.classes in (0, named), "class_names", f"names {named} classes, but classes is {self.classes}")
        object.__setattr__(self, "classes", named)

    @property
    def is_linear(self) -> bool:
        """Whether it is a linear model, which one worker trains."""
        return is_linear(self.engine, self.engine_params(self.engine))

    def engine_params(self, engine: Engine) -> Mapping[str, Scalar]:
        """The library's own parameters for ``engine``."""
        return self.params.get(engine.value, {})


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """All models that could be read. ``problems`` has what is wrong with the others, by the name of their file, so that
    one bad file breaks no other model.
    """

    entries: Mapping[str, ModelEntry]
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The models whose files are there: those that can be read first."""
        return [*sorted(self.entries), *sorted(self.problems)]

    def entry(self, model_type: str) -> ModelEntry:
        """The entry of ``model_type``.

        Raises:
            CatalogueError: there is none, and which there are; or its file could not be read, and why.
        """
        if model_type in self.entries:
            return self.entries[model_type]
        if model_type in self.problems:
            raise CatalogueError(f"{model_type!r} cannot be trained: {self.problems[model_type]}")
        known = ", ".join(sorted(self.entries)) or "none"
        raise CatalogueError(f"unknown model type {model_type!r}; the catalogue has: {known}")

    def weekly(self) -> list[ModelEntry]:
        """What a run for all models trains, in the order of names.

        Raises:
            CatalogueError: that is no model at all, and why.
        """
        found = [entry for _, entry in sorted(self.entries.items()) if entry.schedule is Schedule.WEEKLY]
        if not found:
            reasons = [*self.problems.values(), *(f"{name} is trained on demand" for name in sorted(self.entries))]
            raise CatalogueError(f"no model is trained weekly: {'; '.join(reasons) or 'the catalogue is empty'}")
        return found


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
        require("schema" in body, "schema", f"is missing; this package reads schema = {SCHEMA}")
        schema = body.pop("schema")
        fits = type(schema) is int and schema == SCHEMA
        require(fits, "schema", f"is {schema!r}; this package reads schema {SCHEMA}")
        entry = decode(ModelEntry, body, "")
        _check_evaluation(entry)
        require(entry.model_type == path.stem, "model_type", f"is {entry.model_type!r} in a file named {path.name}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise CatalogueError(f"{path.name}: is no TOML: {e}") from e
    except (ContractError, OSError) as e:
        raise CatalogueError(f"{path.name}: {e}") from e
    return entry


@functools.cache
def read_catalogue(folder: Path = FOLDER) -> Catalogue:
    """Every ``*.toml`` in ``folder``. Cached: a DAG file is parsed often, and the files belong to the package."""
    entries, problems = {}, {}
    for path in sorted(folder.glob("*.toml")):
        try:
            entries[path.stem] = read_entry(path)
        except CatalogueError as e:
            problems[path.stem] = str(e)
    return Catalogue(entries=entries, problems=problems)


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
