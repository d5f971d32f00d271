"""How long the laps take from files into tables, and how much memory: in a process of its own, as a task has one."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from composer.local.places import REPOSITORY
from tests.bench.bench import LAPS, Bench, say
from tests.bench.figures import Figure

FIGURES = ("ingest_s", "process_s", "checks_s", "ingest_mib")
DEADLINE_S = 600.0


def measure(bench: Bench, wanted: Sequence[str]) -> Iterator[Figure]:
    """The archive beside the project, or else simulated laps, into raw tables, then into candidates, then checked."""
    folder = LAPS if (LAPS / "laps.parquet").exists() else None
    say("laps into tables")
    runs = [_run(os.environ["BIGQUERY_EMULATOR_HOST"], folder) for _ in range(bench.samples)]
    note = f"{runs[0]['laps']} laps, {'real' if folder else 'simulated'}"
    for name in wanted:
        values = [run[name] for run in runs]
        yield Figure(figure=name, value=max(values), samples={"runs": values}, note=note)


def _run(rest: str, folder: Path | None) -> dict[str, float]:
    source = f"file://{folder}" if folder else "simulator"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.tables", rest, source],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'plugins'}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(rest: str, source: str) -> None:
    """Ingest and process once; print seconds and the peak of this process's memory."""
    from composer.local.laps import emulator_client
    from f1_training.bigquery.client import Warehouse
    from f1_training.core.settings import Datasets, Settings, Uris
    from f1_training.data import ingest, process
    from f1_training.data.sources import open_source
    from f1_training.data.validation import Checker
    from trainer.contract import read_catalogue

    names = ("raw", "candidates", "strategy", "staging", "evaluation")
    prefix = f"bench{os.getpid()}"
    settings = Settings(
        project="local",
        image="f1-training/training-worker:local",
        uris=Uris(checkpoints="memory://", artifacts="memory://", models="memory://"),
        datasets=Datasets(**{name: f"{prefix}_{name}" for name in names}),
    )
    warehouse, today = Warehouse(emulator_client(rest), settings), datetime.now(UTC).date()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        batches, results = ingest.prepare(open_source(source, today=today, scratch=Path(scratch)))
        assert not any(result.failed for result in results), results
        for _ in ingest.merge_all(warehouse, settings, batches):
            pass
    ingested = time.monotonic()
    candidates = process.process(warehouse, settings, prefix)
    processed = time.monotonic()
    checker = Checker(warehouse=warehouse, settings=settings, last={}, today=today)
    found = checker.raw() + checker.candidates(candidates, read_catalogue())
    checked = time.monotonic()
    assert not any(result.failed for result in found.results)
    body = {
        "laps": found.statistics["laps"].rows,
        "ingest_s": ingested - began,
        "process_s": processed - ingested,
        "checks_s": checked - processed,
        "ingest_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(body))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
