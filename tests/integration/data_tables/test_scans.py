"""What the checks cost: one query a suite, each table in it once, no column more than is looked at."""

from __future__ import annotations

from typing import Any

import pytest
from google.cloud import bigquery

from f1_training.data.lap_columns import SPLITS
from f1_training.data.suite import raw_suites, strategy_labels, strategy_suites
from tests.fakes import laps_archive
from tests.integration.data_tables.conftest import Pipeline

pytestmark = pytest.mark.timeout(400)


def scans(client: bigquery.Client, dataset: str) -> list[Any]:
    """The jobs of checks that read a table of ``dataset``, the oldest first."""
    jobs = [job for job in client.list_jobs(max_results=400) if job.job_type == "query" and "seen_rows" in job.query]
    return [job for job in reversed(jobs) if any(t.dataset_id == dataset for t in job.referenced_tables)]


def test_every_table_is_scanned_once(pipeline: Pipeline) -> None:
    archive = laps_archive.simulated()
    pipeline.ingest(archive)
    found = pipeline.validate()
    datasets = pipeline.settings.datasets
    raw = scans(pipeline.client, datasets.raw)
    candidates = scans(pipeline.client, datasets.candidates)
    derived = [suite for suite in strategy_suites().values() if "telemetry_laps" not in suite.needs]
    assert len({job.job_id for job in (*raw, *candidates)}) == len(archive) + 1 + len(derived)

    for name in (*archive, "car_laps"):
        # Looked at by its own suite; others may look a key of theirs up in it.
        table = f"`{pipeline.raw(name)}`"
        own = [job for job in raw if f"FROM {table}) AS source_rows" in job.query]
        assert len(own) == 1
        assert own[0].query.count(table) == 1
        rest = {t.table_id for t in own[0].referenced_tables} - {name}
        suite = raw_suites()[name]
        assert rest == {r.table for r in suite.references} | {t.table for t in suite.totals}
        least = pipeline.client.get_table(pipeline.raw(name)).num_bytes
        others = sum(pipeline.client.get_table(pipeline.raw(other)).num_bytes for other in rest)
        assert least <= own[0].total_bytes_processed <= least + others

    assert len(candidates) == len(derived)
    for job in candidates:
        tables = {t.table_id for t in job.referenced_tables}
        assert len(tables) == len(SPLITS)
        assert all(job.query.count(table) == 1 for table in tables)
        sizes = sum(pipeline.client.get_table(f"{datasets.candidates}.{table}").num_bytes for table in tables)
        assert job.total_bytes_processed == sizes
    labels = {label for label in strategy_labels() if not label.startswith("driving")}
    assert {result.split for result in found.results} >= {*archive, "car_laps", *labels}
