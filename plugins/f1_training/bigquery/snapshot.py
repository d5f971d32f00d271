"""The snapshot of a run: its rows, fixed, in two tables of which training can read one. The source is scanned once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from f1_training.bigquery import sql
from f1_training.bigquery.client import Destination, Written
from f1_training.bigquery.sql import Fragment, Parameter, Query
from f1_training.core.plan import RunPlan
from trainer.contract import FailureReason, ModelEntry, SnapshotRef, TrainingFailure
from trainer.contract.fields import require

log = logging.getLogger(__name__)

#: Columns of a snapshot that are no features.
RESERVED = ("split", "group_id", "row_key", "target", "shard")


class Snapshots(Protocol):
    """What taking a snapshot asks of BigQuery; :class:`f1_training.bigquery.client.Warehouse` is one."""

    def ensure_dataset(self, name: str) -> None:
        """Make the dataset where it is missing."""

    def write(self, query: Query, destination: Destination, job_id: str) -> Written:
        """Replace the destination by the query's rows."""

    def rows(self, query: Query) -> list[dict[str, Any]]:
        """The rows of a small result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One of the two tables: what is written where, and which splits it then has."""

    name: str
    dataset: str
    table: str
    query: Query
    splits: tuple[str, ...]


def training_part(plan: RunPlan) -> Part:
    """Train and validation rows, for the trainer.

    Raises:
        ContractError: a name cannot be used in SQL.
    """
    tables = {
        "train_table": sql.table(source(plan, plan.train_split)),
        "validation_table": sql.table(source(plan, plan.validation_split)),
    }
    text = sql.render(sql.load("snapshot/training.sql"), {**_columns(plan.entry), **tables})
    parameters: dict[str, Parameter] = {
        "train_split": ("STRING", plan.train_split),
        "validation_split": ("STRING", plan.validation_split),
        "logical_shards": ("INT64", plan.entry.logical_shards),
    }
    return Part(
        name="training",
        dataset=plan.settings.datasets.staging,
        table=plan.training_table,
        query=Query(sql=text, parameters=parameters),
        splits=(plan.train_split, plan.validation_split),
    )


def evaluation_part(plan: RunPlan) -> Part:
    """Test rows, for the evaluation only, with the columns that it breaks the error down by.

    Raises:
        ContractError: a name cannot be used in SQL.
    """
    tables = {"test_table": sql.table(source(plan, plan.test_split))}
    columns = _columns(plan.entry)
    texts = {by.snapshot_column: by.column for by in plan.entry.breakdown if by.column}
    columns["columns"] = sql.joined_columns(columns.pop("features"), sql.texts(texts))
    text = sql.render(sql.load("snapshot/evaluation.sql"), {**columns, **tables})
    parameters: dict[str, Parameter] = {
        "test_split": ("STRING", plan.test_split),
        "logical_shards": ("INT64", plan.entry.logical_shards),
    }
    return Part(
        name="evaluation",
        dataset=plan.settings.datasets.evaluation,
        table=plan.evaluation_table,
        query=Query(sql=text, parameters=parameters),
        splits=(plan.test_split,),
    )


def billing_labels(plan: RunPlan) -> dict[str, str]:
    """What the run's jobs and tables are found by in the bill; ``include/sql/costs/spent.sql`` knows them, too."""
    return {
        "f1-training-job": plan.job_id,
        "f1-training-model": plan.model_type.lower(),
        "f1-training-budget": plan.budget.value,
    }


def take(warehouse: Snapshots, plan: RunPlan, part: Part, attempt: int) -> SnapshotRef:
    """Write ``part`` and count its rows. The same attempt again adopts the query that it finds.

    Raises:
        TrainingFailure: what BigQuery refused; ``DataInvalid`` when rows have no group.
    """
    destination = Destination(
        table=part.table,
        logical_shards=plan.entry.logical_shards,
        clustered_by=("split",),
        days=plan.settings.snapshot_days,
        labels=billing_labels(plan),
    )
    warehouse.ensure_dataset(part.dataset)
    written = warehouse.write(part.query, destination, f"{plan.table_name}_{part.name}_{attempt}")
    counts_sql = sql.render(sql.load("snapshot/counts.sql"), {"snapshot_table": sql.table(part.table)})
    counts = warehouse.rows(Query(sql=counts_sql))
    snapshot = SnapshotRef(
        table=part.table,
        logical_shards=plan.entry.logical_shards,
        rows=counted(counts, part.splits, plan.entry.logical_shards, part.table),
        checksums=checksums(counts, part.splits, plan.entry.logical_shards),
        created_at=written.created_at,
        bytes_scanned=written.bytes_scanned,
    )
    for split in part.splits:
        log.info("%s: %s rows of split %r", part.table, f"{snapshot.total(split):,}", split)
    return snapshot


def counted(
    counts: Iterable[Mapping[str, Any]], splits: Sequence[str], logical_shards: int, table: str
) -> dict[str, tuple[int, ...]]:
    """Rows of each shard, by split, from rows of ``counts.sql``.

    Raises:
        TrainingFailure: ``DataInvalid`` when rows belong to no shard, because their group is NULL.
    """
    found = {split: [0] * logical_shards for split in splits}
    for row in counts:
        shard = row["shard"]
        if shard is None or not 0 <= int(shard) < logical_shards:
            message = f"{table}: {row['row_count']} rows of split {row['split']!r} have no group, so they have no shard"
            raise TrainingFailure(FailureReason.DATA_INVALID, message)
        found[row["split"]][int(shard)] = int(row["row_count"])
    return {split: tuple(rows) for split, rows in found.items()}


def checksums(
    counts: Iterable[Mapping[str, Any]], splits: Sequence[str], logical_shards: int
) -> dict[str, tuple[int, ...]]:
    """The checksum of each shard, by split, from rows of ``counts.sql``; of a shard without rows it is 0."""
    found = {split: [0] * logical_shards for split in splits}
    for row in counts:
        found[row["split"]][int(row["shard"])] = int(row["checksum"] or 0)
    return {split: tuple(sums) for split, sums in found.items()}


def source(plan: RunPlan, split: str) -> str:
    """The table that the rows of ``split`` come from."""
    return f"{plan.settings.project}.{plan.settings.datasets.strategy}.{split}"


def _columns(entry: ModelEntry) -> dict[str, Fragment]:
    taken = sorted(set(entry.features) & set(RESERVED))
    require(not taken, "features", f"names {', '.join(taken)}, which are columns of every snapshot; rename them")
    require(bool(entry.keys), "keys", "is empty; name the columns that tell rows apart")
    return {
        "group_text": sql.as_text(entry.group),
        "row_key": sql.joined_text(entry.keys),
        "target_number": sql.as_number(entry.target),
        "features": sql.numbers(entry.features),
        "eligible": sql.column(entry.eligible),
    }
