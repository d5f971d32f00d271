"""The contract between Airflow and the pods: plain, versioned documents. Standard library only."""

from trainer.contract.catalogue import ALL_MODELS, Catalogue, CatalogueError, ModelEntry, Schedule, read_catalogue
from trainer.contract.evaluation import (
    Calibration,
    Comparison,
    Curve,
    Details,
    EvaluationResult,
    Grid,
    GroupScore,
    Interval,
    LinearBaseline,
)
from trainer.contract.evaluation_spec import Breakdown, ChampionModel, CurveSpec, EvaluationSpec, TrainingRows
from trainer.contract.fields import ContractError
from trainer.contract.manifest import (
    EarlyStopping,
    GroupChange,
    GroupMember,
    LineageEvent,
    Manifest,
    SegmentFile,
    TrainingResult,
)
from trainer.contract.objects import ObjectExistsError, ObjectStore
from trainer.contract.outcome import EXIT_CODES, FailureReason, Outcome, TrainingFailure
from trainer.contract.spec import (
    CheckpointPolicy,
    Device,
    Engine,
    Limits,
    Metric,
    Objective,
    OutputUris,
    SnapshotRef,
    TrainingSpec,
)

__all__ = [
    "ALL_MODELS",
    "EXIT_CODES",
    "Breakdown",
    "Calibration",
    "Catalogue",
    "CatalogueError",
    "ChampionModel",
    "CheckpointPolicy",
    "Comparison",
    "ContractError",
    "Curve",
    "CurveSpec",
    "Details",
    "Device",
    "EarlyStopping",
    "Engine",
    "EvaluationResult",
    "EvaluationSpec",
    "FailureReason",
    "Grid",
    "GroupChange",
    "GroupMember",
    "GroupScore",
    "Interval",
    "Limits",
    "LineageEvent",
    "LinearBaseline",
    "Manifest",
    "Metric",
    "ModelEntry",
    "ObjectExistsError",
    "ObjectStore",
    "Objective",
    "Outcome",
    "OutputUris",
    "Schedule",
    "SegmentFile",
    "SnapshotRef",
    "TrainingFailure",
    "TrainingResult",
    "TrainingRows",
    "TrainingSpec",
    "read_catalogue",
]
