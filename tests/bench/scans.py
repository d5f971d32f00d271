"""How often a run reads its source tables, whatever the number of workers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from composer.local.laps import STRATEGY_DATASET, SimulatedLaps, load_laps
from f1_training.core.plan import RunPlan
from f1_training.data.simulator import SeasonSet, simulate
from f1_training.operators import DataChecksOperator, SnapshotOperator
from tests.bench.bench import Bench, say
from tests.bench.figures import Figure
from tests.bench.job import deployment, quiet, run_plan
from tests.bench.stand import Stand, deadline
from tests.fakes.run_plan import StateStore
from trainer.contract import SnapshotRef
from trainer.contract.fields import decode

WORKERS = (1, 3)
ROUNDS = 10
SOURCE = re.compile(rf"\b{STRATEGY_DATASET}`?\.`?(\w+)")
STAGES_S = 300.0


class FewLaps(SimulatedLaps):
    """Enough laps for the data checks."""

    def tables(self) -> Iterator[tuple[str, Any]]:
        """One small table."""
        yield "laps", simulate(SeasonSet(seasons=3, races_per_season=4, drivers=6))


def measure(bench: Bench, wanted: Sequence[str]) -> Iterator[Figure]:
    """The most that any source table is scanned by snapshot, checks and training.

    The source tables are dropped before training starts, so that a job that ends well cannot have read them.
    """
    counts = {}
    for workers in WORKERS:
        load_laps(bench.stand.bigquery, FewLaps())
        counts[f"{workers} workers"] = _scans(bench.stand, workers)
        say(f"source scans with {workers} workers: {counts[f'{workers} workers']}")
    value = float(max(n for by_table in counts.values() for n in by_table.values()))
    note = "queries that name the table; training succeeded with the source tables dropped"
    yield from (Figure(figure=name, value=value, samples=counts, note=note) for name in wanted)


def _scans(stand: Stand, workers: int) -> dict[str, int]:
    began = datetime.now(UTC)
    plan = _plan(stand, workers)
    with quiet(stand.folder / "operator.log"), deadline(STAGES_S, "snapshot and checks"):
        taken = SnapshotOperator(task_id="snapshot", plan=plan.to_xcom()).execute({"task_state_store": StateStore()})
        DataChecksOperator(task_id="validate", plan=plan.to_xcom(), snapshots=taken).execute({})
    for table in list(stand.bigquery.list_tables(STRATEGY_DATASET)):
        stand.bigquery.delete_table(table)
    ran = run_plan(stand, plan, decode(SnapshotRef, taken["training"], ""))
    assert ran.result.rounds > 0
    return _named(stand.bigquery, began)


def _plan(stand: Stand, workers: int) -> RunPlan:
    run_id = f"scans-{workers}"
    plan = deployment(stand, run_id, workers=workers, threads=1, rounds=ROUNDS, deadline_s=STAGES_S)
    return replace(plan, entry=replace(plan.entry, checks=replace(plan.entry.checks, min_rows=10)))


def _named(bigquery: Any, since: datetime) -> dict[str, int]:
    """How many queries since then name each source table."""
    counts: dict[str, int] = {}
    for job in bigquery.list_jobs(max_results=1000):
        if job.job_type != "query" or job.created < since:
            continue
        for table in set(SOURCE.findall(job.query)):
            counts[table] = counts.get(table, 0) + 1
    return counts
