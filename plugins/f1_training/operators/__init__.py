"""Operators of the DAGs. What is heavy is imported when a task runs, never when a DAG file is parsed."""

import f1_training.operators.retries  # noqa: F401 - first, as it says which Airflow is needed
from f1_training.operators.catalogue import require_readable, with_problems
from f1_training.operators.checks import DataChecksOperator
from f1_training.operators.costs import CostReportOperator, check_cost
from f1_training.operators.data import (
    ASSETS,
    AnnounceOperator,
    IngestOperator,
    ProcessOperator,
    PublishOperator,
    TableChecksOperator,
)
from f1_training.operators.defaults import default_args
from f1_training.operators.evaluation import EvaluationOperator
from f1_training.operators.gate import AskToOpenOperator, ChangeGateOperator, GateOperator, models_asked
from f1_training.operators.planning import plan_models
from f1_training.operators.preflight import PreflightChecksOperator, PreflightReportOperator, ProbeOperator
from f1_training.operators.reaper import ReaperOperator
from f1_training.operators.register import RegisterModelOperator
from f1_training.operators.retries import ReasonedRetryPolicy
from f1_training.operators.rollback import RetireOperator, RollBackOperator
from f1_training.operators.serve import ServeOperator
from f1_training.operators.snapshot import SnapshotOperator
from f1_training.operators.training import DaskTrainingOperator
from f1_training.operators.vertex import (
    DeployToVertexOperator,
    FollowChampionOnVertexOperator,
    UploadToVertexOperator,
)

__all__ = [
    "ASSETS",
    "AnnounceOperator",
    "AskToOpenOperator",
    "ChangeGateOperator",
    "CostReportOperator",
    "DaskTrainingOperator",
    "DataChecksOperator",
    "DeployToVertexOperator",
    "EvaluationOperator",
    "FollowChampionOnVertexOperator",
    "GateOperator",
    "IngestOperator",
    "PreflightChecksOperator",
    "PreflightReportOperator",
    "ProbeOperator",
    "ProcessOperator",
    "PublishOperator",
    "ReaperOperator",
    "ReasonedRetryPolicy",
    "RegisterModelOperator",
    "RetireOperator",
    "RollBackOperator",
    "ServeOperator",
    "SnapshotOperator",
    "TableChecksOperator",
    "UploadToVertexOperator",
    "check_cost",
    "default_args",
    "models_asked",
    "plan_models",
    "require_readable",
    "with_problems",
]
