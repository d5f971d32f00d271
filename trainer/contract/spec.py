"""What the chief is to do: :class:`TrainingSpec`."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from trainer.contract.fields import Document, Scalar, require

MAX_WORKERS = 10
DEFAULT_WORKERS = 4
#: A segment never gets longer than this, so that a checkpoint is due at least every 1000 rounds.
MAX_SEGMENT_ROUNDS = 1000
MAX_ROUNDS = 100_000
MAX_SHARDS = 1000

#: Kubernetes names derive from the job id (suffixes up to 13 characters), so it is a short DNS label.
JOB_ID = re.compile(r"[a-z]([a-z0-9-]{0,46}[a-z0-9])?")
TABLE = re.compile(r"[A-Za-z0-9_:.-]+\.[A-Za-z0-9_]+\.[A-Za-z0-9_$-]+")


class Engine(enum.StrEnum):
    """The boosting library."""

    XGBOOST = "xgboost"
    LIGHTGBM = "lightgbm"


class Objective(enum.StrEnum):
    """What is minimised, in words that mean the same for both engines."""

    ABSOLUTE_ERROR = "absolute_error"
    SQUARED_ERROR = "squared_error"
    BINARY_LOGISTIC = "binary_logistic"
    MULTICLASS = "multiclass"


#: Value of XGBoost's parameter ``booster`` that makes a linear model.
LINEAR = "gblinear"


def is_linear(engine: Engine, params: Mapping[str, Scalar]) -> bool:
    """Whether ``params`` of ``engine`` ask for a linear model, which XGBoost trains on one worker only."""
    return engine is Engine.XGBOOST and str(params.get("booster", "")).lower() == LINEAR


def check_linear(objective: Objective, early_stopping_rounds: int, workers: int, *, field_name: str) -> None:
    """Refuse what a linear model cannot do; ``field_name`` says where the number of workers is written.

    Raises:
        ContractError: naming the field.
    """
    problem = f"is {workers}; XGBoost does not distribute {LINEAR}, and says nothing: take 1"
    require(workers == 1, field_name, problem)
    problem = f"is {early_stopping_rounds}; a linear model cannot be cut to an earlier round: take 0"
    require(early_stopping_rounds == 0, "early_stopping_rounds", problem)
    problem = f"is {objective.value!r}; {LINEAR} takes squared_error, binary_logistic and multiclass"
    require(objective is not Objective.ABSOLUTE_ERROR, "objective", problem)


class Metric(enum.StrEnum):
    """What is reported a round, and decides early stopping. Lower is better for all."""

    MAE = "mae"
    RMSE = "rmse"
    LOG_LOSS = "log_loss"
    MULTI_LOG_LOSS = "multi_log_loss"


#: The metrics that fit an objective.
METRICS: Mapping[Objective, tuple[Metric, ...]] = {
    Objective.ABSOLUTE_ERROR: (Metric.MAE, Metric.RMSE),
    Objective.SQUARED_ERROR: (Metric.MAE, Metric.RMSE),
    Objective.BINARY_LOGISTIC: (Metric.LOG_LOSS,),
    Objective.MULTICLASS: (Metric.MULTI_LOG_LOSS,),
}


def check_objective(objective: Objective, metric: Metric, classes: int) -> None:
    """Refuse a metric or a number of classes that does not fit the objective.

    Raises:
        ContractError: naming ``classes`` or ``metric``.
    """
    multiclass = objective is Objective.MULTICLASS
    wanted = "2 or more" if multiclass else "0"
    fits = (classes >= 2) if multiclass else (classes == 0)
    require(fits, "classes", f"is {classes} for objective {objective.value}; {wanted}")
    fitting = METRICS[objective]
    problem = f"{metric.value!r} does not fit objective {objective.value!r}; {' or '.join(fitting)}"
    require(metric in fitting, "metric", problem)


class Device(enum.StrEnum):
    """Where the trees are grown: ``cuda`` is XGBoost's, ``gpu`` LightGBM's OpenCL."""

    CPU = "cpu"
    CUDA = "cuda"
    GPU = "gpu"


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotRef:
    """The immutable rows a run trains on, in a staging table clustered by ``split`` and ``shard``.

    Columns of the table: the features (numeric, nullable), ``target`` (FLOAT64), ``group_id`` (STRING),
    ``split`` (STRING), ``shard`` (INT64, below ``logical_shards``) and ``row_key`` (INT64; orders the rows of a shard,
    so that the same snapshot gives the same bytes in whatever order it is read).

    ``rows`` has one entry a split: the number of rows in each logical shard. ``checksums`` has the same shape: the XOR
    over a shard's rows of ``row_key ^ floor(1024 * target)``; empty where nobody computed them.
    """

    table: str
    logical_shards: int
    rows: Mapping[str, tuple[int, ...]]
    created_at: str = ""
    bytes_scanned: int = 0
    checksums: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(bool(TABLE.fullmatch(self.table)), "table", f"is {self.table!r}; expected project.dataset.table")
        in_range = 1 <= self.logical_shards <= MAX_SHARDS
        require(in_range, "logical_shards", f"is {self.logical_shards}; 1 to {MAX_SHARDS}")
        for split, rows in self.rows.items():
            require(
                len(rows) == self.logical_shards, f"rows.{split}", f"has {len(rows)} of {self.logical_shards} shards"
            )
        for split, sums in self.checksums.items():
            same = len(sums) == len(self.rows.get(split, ()))
            require(same, f"checksums.{split}", f"has {len(sums)} of {self.logical_shards} shards")

    def total(self, split: str) -> int:
        """Number of rows of ``split``; 0 when the snapshot has none."""
        return sum(self.rows.get(split, ()))


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointPolicy:
    """When a checkpoint is due. The chief shortens a segment so that none lasts over ``max_segment_s``."""

    segment_rounds: int = 100
    max_segment_s: float = 600.0

    def __post_init__(self) -> None:
        in_range = 1 <= self.segment_rounds <= MAX_SEGMENT_ROUNDS
        require(in_range, "segment_rounds", f"is {self.segment_rounds}; 1 to {MAX_SEGMENT_ROUNDS}")
        require(self.max_segment_s > 0, "max_segment_s", f"is {self.max_segment_s}; more than 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How long the job waits for what. All in seconds."""

    worker_start_s: float = 600.0
    heartbeat_s: float = 25.0
    regroup_grace_s: float = 300.0
    partition_s: float = 900.0

    def __post_init__(self) -> None:
        for name in ("worker_start_s", "heartbeat_s", "partition_s"):
            require(getattr(self, name) > 0, name, f"is {getattr(self, name)}; more than 0")
        require(self.regroup_grace_s >= 0, "regroup_grace_s", f"is {self.regroup_grace_s}; 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputUris:
    """Where the chief writes. Any fsspec URI: ``gs://`` on Google Cloud, ``file://`` on one machine.

    ``checkpoints`` belongs to the run and outlives its attempts: a new attempt of the same ``job_id`` resumes there.
    ``artifacts`` receives the finished booster and ``result.json``.
    """

    checkpoints: str
    artifacts: str

    def __post_init__(self) -> None:
        for name in ("checkpoints", "artifacts"):
            uri = getattr(self, name)
            require("://" in uri, name, f"is {uri!r}; expected a URI such as gs://bucket/folder or file:///folder")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSpec(Document):
    """One training job, complete: nothing else decides what is trained, on which rows, from which checkpoint.

    ``seed`` is the base seed; each segment's own follows from it. ``threads`` is per worker and part of the spec,
    because floating-point sums, so the model's bytes, depend on it. ``resume`` says whether to look for committed
    checkpoints below ``output.checkpoints`` (an attempt after a failure) or to demand an empty folder (a new run).
    """

    KIND: ClassVar[str] = "training-spec"

    job_id: str
    model_type: str
    engine: Engine
    objective: Objective
    metric: Metric
    features: tuple[str, ...]
    rounds: int
    snapshot: SnapshotRef
    output: OutputUris
    target: str = "target"
    classes: int = 0
    params: Mapping[str, Scalar] = field(default_factory=dict)
    early_stopping_rounds: int = 0
    seed: int = 0
    device: Device = Device.CPU
    threads: int = 1
    num_workers: int = DEFAULT_WORKERS
    train_split: str = "train"
    validation_split: str | None = "validation"
    checkpoint: CheckpointPolicy = field(default_factory=CheckpointPolicy)
    limits: Limits = field(default_factory=Limits)
    resume: bool = True

    def __post_init__(self) -> None:
        require(
            bool(JOB_ID.fullmatch(self.job_id)), "job_id", f"is {self.job_id!r}; a DNS label of at most 48 characters"
        )
        require(bool(self.features), "features", "is empty; a model needs at least one feature")
        doubled = sorted({f for f in self.features if self.features.count(f) > 1})
        require(not doubled, "features", f"names {', '.join(doubled)} twice")
        require(self.target not in self.features, "target", f"{self.target!r} is also a feature: that is leakage")
        require(1 <= self.rounds <= MAX_ROUNDS, "rounds", f"is {self.rounds}; 1 to {MAX_ROUNDS}")
        in_range = 1 <= self.num_workers <= MAX_WORKERS
        require(in_range, "num_workers", f"is {self.num_workers}; 1 to {MAX_WORKERS}")
        shards = self.snapshot.logical_shards
        require(self.num_workers <= shards, "num_workers", f"is {self.num_workers}, the snapshot has {shards} shards")
        require(self.early_stopping_rounds >= 0, "early_stopping_rounds", f"is {self.early_stopping_rounds}; 0 or more")
        require(0 <= self.seed < 2**31, "seed", f"is {self.seed}; 0 to 2**31 - 1")
        require(1 <= self.threads <= 256, "threads", f"is {self.threads}; 1 to 256")
        self._check_engine()
        if self.is_linear:
            check_linear(self.objective, self.early_stopping_rounds, self.num_workers, field_name="num_workers")
            require(self.device is Device.CPU, "device", f"is {self.device.value!r}; {LINEAR} trains on cpu")
        self._check_splits()

    @property
    def is_linear(self) -> bool:
        """Whether it is a linear model that is trained."""
        return is_linear(self.engine, self.params)

    def _check_engine(self) -> None:
        own = {Engine.XGBOOST: Device.CUDA, Engine.LIGHTGBM: Device.GPU}[self.engine]
        fits = self.device in (Device.CPU, own)
        require(fits, "device", f"is {self.device.value!r}; {self.engine.value} trains on cpu or {own.value}")
        check_objective(self.objective, self.metric, self.classes)

    def _check_splits(self) -> None:
        require(
            self.snapshot.total(self.train_split) > 0,
            "train_split",
            f"{self.train_split!r} has no rows in the snapshot",
        )
        if self.early_stopping_rounds:
            rows = self.snapshot.total(self.validation_split) if self.validation_split else 0
            require(rows > 0, "validation_split", "has no rows in the snapshot, and early stopping needs them")
