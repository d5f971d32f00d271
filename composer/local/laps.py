"""Laps into the warehouse: ``python -m composer.local.laps load --laps PATH | --simulate``.

The raw laps become ``f1_raw.laps`` (companions: tables of their names beside it), and the process SQL makes
``f1_strategy.train``, ``.validation`` and ``.test`` of them. Exit codes are those of ``sysexits``: 65 for laps that
cannot be used, 66 for a missing file, 69 if BigQuery does not answer; then nothing has been written.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from composer.local.lap_source import LAPS, LapsError, LapsSource, SimulatedLaps, validate_laps

if TYPE_CHECKING:
    from google.cloud.bigquery import Client
    from google.cloud.bigquery_storage import BigQueryReadClient

__all__ = [
    "LapsError",
    "LapsSource",
    "LoadReport",
    "SimulatedLaps",
    "emulator_client",
    "ensure_laps",
    "load_laps",
    "main",
]
__all__ += ["process_for_scoring", "validate_laps"]

RAW_DATASET, CANDIDATES_DATASET, STRATEGY_DATASET = "f1_raw", "f1_candidates", "f1_strategy"
PROJECT = "local"


class RawTables(Protocol):
    """Where raw tables come from: :class:`LapsSource` or :class:`SimulatedLaps`."""

    def tables(self) -> Iterator[tuple[str, pa.Table]]:
        """Name and content of each, ``laps`` first."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadReport:
    """What was loaded: laps, races, laps of each split, and how long loading and processing took together."""

    rows: int
    races: int
    splits: Mapping[str, int]
    tables: tuple[str, ...]
    seconds: float


def emulator_client(rest: str | None = None, project: str = PROJECT, location: str | None = None) -> Client:
    """A client of the BigQuery at ``rest``; without it of ``BIGQUERY_EMULATOR_HOST``, or else of Google Cloud.

    Datasets are made in ``location``; without it where BigQuery makes them by default.
    """
    from composer.local import lap_tables  # Google's client takes 2 s to import: wrong laps are refused before that

    return lap_tables.connect(rest, project, location)


def ensure_laps(client: Client) -> LoadReport | None:
    """Load simulated laps where there are none yet, so that whatever is triggered first has rows to train on."""
    from google.api_core.exceptions import NotFound

    try:
        client.get_table(f"{STRATEGY_DATASET}.train")
    except NotFound:
        return load_laps(client, SimulatedLaps())
    return None


def load_laps(client: Client, source: RawTables, *, dataset_prefix: str = "") -> LoadReport:
    """What ``f1_data`` does without its checks: ingest ``source`` as all there is, process it, publish the tables.

    Raises:
        LapsError: the laps cannot be used; nothing is loaded.
        TrainingFailure: BigQuery refused or failed a job; the table concerned is as it was.
    """
    from f1_training.bigquery.client import Warehouse
    from f1_training.core.settings import Datasets, Settings, Uris
    from f1_training.data import car_laps, ingest, process
    from f1_training.data.sources import Found, TablePart

    begin = time.monotonic()
    settings = Settings(
        project=client.project,
        location=client.location or "US",
        image="f1-training/training-worker:local",
        uris=Uris(checkpoints="memory://", artifacts="memory://", models="memory://"),
        datasets=Datasets(
            raw=f"{dataset_prefix}{RAW_DATASET}",
            candidates=f"{dataset_prefix}{CANDIDATES_DATASET}",
            strategy=f"{dataset_prefix}{STRATEGY_DATASET}",
        ),
    )
    parts = tuple(TablePart(table=name, name=name, rows=rows) for name, rows in source.tables())
    batches, results = ingest.prepare(Found(parts=parts))
    failed = [result for result in results if result.failed]
    if failed:
        raise LapsError(failed[0].finding())
    warehouse = Warehouse(client, settings)
    batches = car_laps.with_car_laps(batches, measured=())  # all there is, so nothing measured stays
    for _ in ingest.merge_all(warehouse, settings, batches, replace_all=True):
        pass
    candidates = process.process(warehouse, settings, f"laps_{uuid.uuid4().hex[:8]}")
    warehouse.ensure_dataset(settings.datasets.strategy, expires=False)
    splits = {}
    for name, candidate in candidates.items():
        warehouse.copy(candidate, f"{settings.project}.{settings.datasets.strategy}.{name}")
        splits[name] = client.get_table(candidate).num_rows
        warehouse.drop(candidate)
    laps = next(batch for batch in batches if batch.suite.name == LAPS)
    return LoadReport(
        rows=laps.rows,
        races=len(laps.groups),
        splits=splits,
        tables=tuple(batch.suite.name for batch in batches),
        seconds=round(time.monotonic() - begin, 2),
    )


def process_for_scoring(
    client: Client,
    path: Path | str,
    scratch_dataset: str,
    *,
    suite: str = "strategy",
    reader: BigQueryReadClient | None = None,
) -> pa.Table:
    """The rows that the SQL of ``suite`` makes of the laps at ``path``, all of them, whatever split they belong to.

    Where it needs car laps and there are none, they are simulated, as they are when laps are ingested.

    They go through ``scratch_dataset``, which must not exist yet and is deleted again. With a ``reader`` they come back
    by the Storage Read API, which matters from some 10,000 rows on; their order is not defined.

    Raises:
        LapsError: the laps cannot be used.
        ValueError: there is a dataset ``scratch_dataset`` already.
    """
    from composer.local import lap_tables
    from f1_training.data.car_laps import CAR_LAPS
    from f1_training.data.car_simulator import simulate_car
    from f1_training.data.process import ALL
    from f1_training.data.suite import strategy_suites

    source, wanted = validate_laps(path, for_scoring=True), strategy_suites()[suite]
    tables = {name: rows for name, rows in source.tables() if name in wanted.needs or name == LAPS}
    if CAR_LAPS in wanted.needs and CAR_LAPS not in tables:
        tables[CAR_LAPS] = simulate_car(tables[LAPS])
    if missing := [name for name in wanted.needs if name not in tables]:
        files = ", ".join(f"{name}.parquet" for name in missing)
        raise LapsError(f"{path}: this model needs {files}, too; give a folder with laps.parquet and {files}")
    with lap_tables.staging(client, scratch_dataset) as stage:
        for name in wanted.needs:
            stage.upload(name, tables[name])
        stage.process(wanted, ALL, "processed")
        return stage.rows("processed", reader)


def main(arguments: list[str] | None = None) -> int:
    """Load laps; print the report as one JSON line, or one line that says what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        source: LapsSource | SimulatedLaps
        source = SimulatedLaps(seed=options.seed) if options.simulate else validate_laps(options.laps)
    except LapsError as e:
        return _fail(str(e), e.exit_code)
    if isinstance(source, LapsSource) and source.left_out:
        _say(f"note: not loaded, as BigQuery cannot hold them as they are: columns {', '.join(source.left_out)}")

    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    from trainer.contract import TrainingFailure

    try:
        report = load_laps(
            emulator_client(options.rest, options.project), source, dataset_prefix=options.dataset_prefix
        )
    except (GoogleAPIError, GoogleAuthError, RequestException, TrainingFailure) as e:
        where = options.rest or os.environ.get("BIGQUERY_EMULATOR_HOST") or "Google Cloud"
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        return _fail(f"BigQuery at {where}: {reason}; is it up, and is --rest its address?", os.EX_UNAVAILABLE)
    print(json.dumps(asdict(report)))
    return os.EX_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m composer.local.laps", description=__doc__)
    load = parser.add_subparsers(required=True).add_parser("load", help="load laps and process their splits")
    source = load.add_mutually_exclusive_group(required=True)
    source.add_argument("--laps", type=Path, help="a Parquet file of laps, or a folder with laps.parquet")
    source.add_argument("--simulate", action="store_true", help="a season set from the simulator")
    load.add_argument("--seed", type=_seed, default=SimulatedLaps().seed, help="of the simulator")
    load.add_argument(
        "--rest", help="address of the BigQuery stand-in; default BIGQUERY_EMULATOR_HOST, or Google Cloud"
    )
    load.add_argument("--project", default=PROJECT)
    load.add_argument("--location", help="of the datasets, on Google Cloud")
    load.add_argument("--dataset-prefix", default="", help=f"goes before {RAW_DATASET} and {STRATEGY_DATASET}")
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def _fail(message: str, exit_code: int) -> int:
    _say(f"error: {message}")
    return exit_code


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
