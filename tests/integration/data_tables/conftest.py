"""A stand-in of BigQuery, and the data pipeline over it without Airflow: what the tasks of ``f1_data`` call."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from google.cloud import bigquery

from composer.local.bigquery.testing import running_bigquery
from composer.local.laps import emulator_client
from f1_training.bigquery.client import Warehouse
from f1_training.core.results import CheckResult
from f1_training.core.settings import Datasets, Settings, Uris
from f1_training.data import car_laps, ingest, process
from f1_training.data.judge import TableStatistics
from f1_training.data.sources import Found, TablePart
from f1_training.data.validation import Checker, Validation
from trainer.contract import read_catalogue

TODAY = date(2025, 7, 1)
NUMBERS = itertools.count(1)


@dataclass
class Pipeline:
    """Ingest, process, validate and publish in datasets of its own."""

    client: bigquery.Client
    settings: Settings
    last: Mapping[str, TableStatistics] = field(default_factory=dict)

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.client, self.settings)

    def ingest(self, archive: Mapping[str, pa.Table], *, replace_all: bool = False) -> list[CheckResult]:
        """Every check of the files; nothing is merged when one failed."""
        parts = tuple(TablePart(table=name, name=f"{name}.parquet", rows=rows) for name, rows in archive.items())
        batches, results = ingest.prepare(Found(parts=parts))
        batches = car_laps.with_car_laps(batches, () if replace_all else self.measured())
        list(ingest.merge_all(self.warehouse, self.settings, batches, replace_all=replace_all))
        return results

    def measured(self) -> frozenset[str]:
        """The races that nothing is simulated for."""
        return car_laps.measured_races(self.warehouse, self.settings)

    @property
    def checker(self) -> Checker:
        return Checker(warehouse=self.warehouse, settings=self.settings, last=self.last, today=TODAY)

    def validate(self) -> Validation:
        candidates = process.process(self.warehouse, self.settings, f"run_{next(NUMBERS)}")
        return self.checker.raw() + self.checker.candidates(candidates, read_catalogue())

    def findings(self, archive: Mapping[str, pa.Table], *, raw_only: bool = False) -> dict[str, CheckResult]:
        """What did not pass, by name, on the way from files to candidates."""
        results = self.ingest(archive)
        if not any(result.failed for result in results):
            results += (self.checker.raw() if raw_only else self.validate()).results
        return {result.name: result for result in results if not result.passed}

    def count(self, table: str) -> int:
        ((rows,),) = self.client.query(f"SELECT COUNT(*) FROM `{table}`").result()
        return int(rows)

    def raw(self, name: str) -> str:
        return ingest.raw_table(self.settings, name)


def settings_for(prefix: str, folder: Path) -> Settings:
    uri = f"file://{folder}"
    names = ("raw", "candidates", "strategy", "staging", "evaluation")
    return Settings(
        project="local",
        image="f1-training/training-worker:local",
        uris=Uris(checkpoints=f"{uri}/checkpoints", artifacts=f"{uri}/artifacts", models=f"{uri}/models"),
        datasets=Datasets(**{name: f"{prefix}_{name}" for name in names}),
    )


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_bigquery(tmp_path_factory.mktemp("warehouse")) as warehouse:
        yield warehouse.rest


@pytest.fixture(scope="module")
def client(rest: str) -> bigquery.Client:
    return emulator_client(rest)


@pytest.fixture
def pipeline(client: bigquery.Client, tmp_path: Path) -> Pipeline:
    return Pipeline(client, settings_for(f"d{next(NUMBERS)}", tmp_path))
