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

from composer.local.lap_columns import SPLIT_COLUMN, SPLITS
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

RAW_DATASET, STRATEGY_DATASET = "f1_raw", "f1_strategy"
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
    """Load ``source`` and process its splits; every table is replaced at one stroke, once all of them are ready.

    Raises:
        google.api_core.exceptions.GoogleAPIError: BigQuery refused or failed a job; no table has changed, unless it
            failed while the finished tables were being swapped in.
    """
    from composer.local import lap_tables

    begin = time.monotonic()
    raw, strategy = f"{dataset_prefix}{RAW_DATASET}", f"{dataset_prefix}{STRATEGY_DATASET}"
    loaded: list[str] = []
    with lap_tables.staging(client, f"{raw}_staging_{uuid.uuid4().hex[:8]}") as stage:
        for name, rows in source.tables():
            if name == LAPS:
                races, laps = len(rows["race_id"].unique()), rows.num_rows
                counts = {row["values"]: row["counts"] for row in rows[SPLIT_COLUMN].value_counts().to_pylist()}
            stage.upload(name, rows)
            loaded.append(name)
        for split in SPLITS:
            stage.process(split, split)
        for dataset, names in ((raw, tuple(loaded)), (strategy, SPLITS)):
            client.create_dataset(dataset, exists_ok=True)
            for name in names:
                stage.publish(name, dataset)
    seconds = round(time.monotonic() - begin, 2)
    return LoadReport(rows=laps, races=races, splits=counts, tables=tuple(loaded), seconds=seconds)


def process_for_scoring(
    client: Client, path: Path | str, scratch_dataset: str, *, reader: BigQueryReadClient | None = None
) -> pa.Table:
    """The rows that the process SQL makes of the laps at ``path``, all of them, whatever split they belong to.

    They go through ``scratch_dataset``, which must not exist yet and is deleted again. With a ``reader`` they come back
    by the Storage Read API, which matters from some 10,000 rows on; their order is not defined.

    Raises:
        LapsError: the laps cannot be used.
        ValueError: there is a dataset ``scratch_dataset`` already.
    """
    from composer.local import lap_tables

    source = validate_laps(path, for_scoring=True)
    with lap_tables.staging(client, scratch_dataset) as stage:
        for name, rows in source.tables():
            stage.upload(name, rows)
        stage.process(lap_tables.ALL, "processed")
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

    try:
        report = load_laps(
            emulator_client(options.rest, options.project), source, dataset_prefix=options.dataset_prefix
        )
    except (GoogleAPIError, GoogleAuthError, RequestException) as e:
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
