"""From the Params of a DAG run to one :class:`RunPlan` a model: resolved once, then nothing is looked up again.

Pure functions. Whatever is wrong is refused here, by the name of the Param, before anything is started.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from f1_training.core.costs import Budget
from f1_training.core.settings import Settings
from trainer.contract import (
    ALL_MODELS,
    Catalogue,
    CatalogueError,
    ContractError,
    Device,
    FailureReason,
    ModelEntry,
    TrainingFailure,
)
from trainer.contract.catalogue import check_workers, device_for, with_engine
from trainer.contract.fields import Document, require
from trainer.contract.spec import DEFAULT_WORKERS, MAX_ROUNDS, MAX_WORKERS

SPLIT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
#: A Kubernetes name that derives from the job id must fit into 63 characters, so its readable part is cut.
SLUG_LENGTH = 31

DRY_RUN_ROUNDS = 20
DRY_RUN_WORKERS = 2
DRY_RUN_SHARDS = 4
#: So that even a dry run has a boundary to commit and to go on from.
DRY_RUN_SEGMENT_ROUNDS = 10

PARAMS = (
    "model_type",
    "data_split",
    "test_split",
    "engine",
    "num_workers",
    "device",
    "rounds",
    "early_stopping_rounds",
    "dry_run",
    "force_cost",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunIdentity:
    """The DAG run. ``at`` is when it was due (``run_after``): it stays when the run is cleared. ``budget`` pays."""

    dag_id: str
    run_id: str
    at: datetime
    budget: Budget = Budget.AD_HOC


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan(Document):
    """What one branch of a DAG run does: one model, completely resolved.

    ``entry`` is the catalogue's entry with the Params applied to it. ``job_id`` and ``model_version`` follow from the
    DAG run, so a cleared task finds what it left behind. ``planned_at`` is RFC 3339 in UTC. ``budget`` is the line of
    the budget that the run is counted under.
    """

    KIND: ClassVar[str] = "run-plan"

    dag_id: str
    run_id: str
    planned_at: str
    job_id: str
    model_version: str
    entry: ModelEntry
    device: Device
    num_workers: int
    train_split: str
    validation_split: str
    test_split: str
    dry_run: bool
    package_version: str
    settings: Settings
    budget: Budget = Budget.AD_HOC

    @property
    def model_type(self) -> str:
        """The model's name in the catalogue."""
        return self.entry.model_type

    @property
    def table_name(self) -> str:
        """Name of the run's snapshot tables."""
        return self.job_id.replace("-", "_")

    @property
    def training_table(self) -> str:
        """Full name of the snapshot that is trained on."""
        return f"{self.settings.project}.{self.settings.datasets.staging}.{self.table_name}"

    @property
    def evaluation_table(self) -> str:
        """Full name of the snapshot of the test split, which training cannot read."""
        return f"{self.settings.project}.{self.settings.datasets.evaluation}.{self.table_name}"

    @property
    def checkpoints_uri(self) -> str:
        """Where the run's checkpoints are, whatever the attempt."""
        return f"{self.settings.uris.checkpoints.rstrip('/')}/{self.job_id}"

    @property
    def artifacts_uri(self) -> str:
        """Where the finished booster, its result and its metrics are."""
        return f"{self.settings.uris.artifacts.rstrip('/')}/{self.job_id}"

    def to_xcom(self) -> dict[str, Any]:
        """Plain JSON values, readable in Airflow's UI."""
        body: dict[str, Any] = json.loads(self.to_json())
        return body

    @classmethod
    def from_xcom(cls, value: Any) -> Self:
        """What :meth:`to_xcom` gave.

        Raises:
            ContractError: naming the field that is wrong.
        """
        return cls.from_json(json.dumps(value))


def plan_runs(
    params: Mapping[str, Any], settings: Settings, run: RunIdentity, catalogue: Catalogue, package_version: str
) -> list[RunPlan]:
    """One plan for each model that ``params`` asks for: the one that is named, or all that are trained weekly.

    A file of the catalogue that cannot be read stops only a run that names its model.

    Raises:
        TrainingFailure: ``ConfigInvalid`` naming the Param and what it takes.
    """
    try:
        unknown = sorted(set(params) - set(PARAMS))
        require(not unknown, ", ".join(unknown), f"is no Param; they are {', '.join(PARAMS)}")
        asked = params.get("model_type", ALL_MODELS)
        require(isinstance(asked, str), "model_type", f"is {asked!r}; a model of the catalogue, or {ALL_MODELS!r}")
        entries = catalogue.weekly() if asked == ALL_MODELS else [catalogue.entry(asked)]
        return [_plan(entry, params, settings, run, package_version) for entry in entries]
    except ContractError as e:
        raise TrainingFailure(FailureReason.CONFIG_INVALID, f"{e.field} {e.problem}") from e
    except CatalogueError as e:
        raise TrainingFailure(FailureReason.CONFIG_INVALID, f"model_type: {e}") from e


def job_id(dag_id: str, run_id: str, model_type: str) -> str:
    """A DNS label that is the same for the same run and model, such as ``tire-degradation-3f2a91c4``."""
    slug = re.sub(r"[^a-z0-9]+", "-", model_type.lower()).strip("-")[:SLUG_LENGTH].strip("-")
    prefix = slug if slug[:1].isalpha() else f"m-{slug}".rstrip("-")
    return f"{prefix}-{_digest(dag_id, run_id, model_type)[:8]}"


def model_version(run: RunIdentity) -> str:
    """A version that sorts by time and is the same whenever the run is cleared: ``20261123-221530-3f2a91``."""
    return f"{run.at.astimezone(UTC):%Y%m%d-%H%M%S}-{_digest(run.dag_id, run.run_id)[:6]}"


def _plan(
    entry: ModelEntry, params: Mapping[str, Any], settings: Settings, run: RunIdentity, package_version: str
) -> RunPlan:
    entry = with_engine(entry, _text(params, "engine"))
    dry_run = params.get("dry_run", False)
    require(isinstance(dry_run, bool), "dry_run", f"is {dry_run!r}; true or false")
    workers = _workers(entry, params)
    device = device_for(entry.engine, _text(params, "device") or "cpu")
    rounds = _rounds(params, "rounds", entry.rounds, least=1)
    patience = _rounds(params, "early_stopping_rounds", entry.early_stopping_rounds, least=0)
    if entry.is_linear and params.get("model_type", ALL_MODELS) == ALL_MODELS:
        device, patience = Device.CPU, 0  # asked for all models alike: it takes what it can use
    problem = f"is {device.value!r}; {entry.model_type} is linear, and trained on cpu"
    require(device is Device.CPU or not entry.is_linear, "device", problem)
    entry = replace(entry, rounds=rounds, early_stopping_rounds=patience)
    if dry_run:
        entry, workers = _small(entry), min(workers, DRY_RUN_WORKERS)
    require(
        workers <= entry.logical_shards,
        "num_workers",
        f"is {workers}; {entry.model_type} has {entry.logical_shards} logical shards to share out",
    )
    return RunPlan(
        dag_id=run.dag_id,
        run_id=run.run_id,
        planned_at=run.at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        job_id=job_id(run.dag_id, run.run_id, entry.model_type),
        model_version=model_version(run),
        entry=entry,
        device=device,
        num_workers=workers,
        train_split=_split(params, "data_split", entry.splits.train),
        validation_split=entry.splits.validation,
        test_split=_split(params, "test_split", entry.splits.test),
        dry_run=dry_run,
        package_version=package_version,
        settings=settings,
        budget=run.budget,
    )


def _small(entry: ModelEntry) -> ModelEntry:
    return replace(
        entry,
        rounds=min(entry.rounds, DRY_RUN_ROUNDS),
        segment_rounds=min(entry.segment_rounds, DRY_RUN_SEGMENT_ROUNDS),
        logical_shards=min(entry.logical_shards, DRY_RUN_SHARDS),
    )


def _workers(entry: ModelEntry, params: Mapping[str, Any]) -> int:
    workers = params.get("num_workers", DEFAULT_WORKERS)
    is_whole = isinstance(workers, int) and not isinstance(workers, bool)
    require(is_whole, "num_workers", f"is {workers!r}; a whole number, 1 to {MAX_WORKERS}")
    require(1 <= workers <= MAX_WORKERS, "num_workers", f"is {workers}; 1 to {MAX_WORKERS}")
    if params.get("model_type", ALL_MODELS) == ALL_MODELS or workers == DEFAULT_WORKERS:
        # Asked for all models alike, or what the form says by itself: each takes what it can use.
        return int(min(workers, entry.max_workers, entry.logical_shards))
    check_workers(entry, workers)
    return int(workers)


def _rounds(params: Mapping[str, Any], name: str, default: int, *, least: int) -> int:
    rounds = params.get(name)
    if rounds is None:
        return default
    fits = isinstance(rounds, int) and not isinstance(rounds, bool) and least <= rounds <= MAX_ROUNDS
    problem = f"is {rounds!r}; a whole number, {least} to {MAX_ROUNDS}, or empty for the catalogue's {default}"
    require(fits, name, problem)
    return int(rounds)


def _split(params: Mapping[str, Any], name: str, default: str) -> str:
    """A table for this purpose: the catalogue's, or a variant of it by name, so that test rows are never trained on."""
    split = _text(params, name) or default
    fits = bool(SPLIT.fullmatch(split)) and (split == default or split.startswith(f"{default}_"))
    require(fits, name, f"is {split!r}, which is unknown; {default!r}, or a table whose name begins with '{default}_'")
    return split


def _text(params: Mapping[str, Any], name: str) -> str | None:
    value = params.get(name)
    require(value is None or isinstance(value, str), name, f"is {value!r}; expected text")
    return value


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
