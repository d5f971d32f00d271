"""``python -m f1_training.data.fastf1_fetch``: laps of a season from FastF1 into files, one a race and table.

A program, because FastF1 wants an older pandas than Airflow brings along: it may run in an environment of its own,
whose interpreter the setting ``data.fastf1_python`` names. The last line of its standard error says why it failed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq

from f1_training.data.fastf1_source import season_tables
from trainer.contract import TrainingFailure
from trainer.contract.outcome import EXIT_CODES


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files. Returns the reason's exit code."""
    parser = argparse.ArgumentParser(prog="python -m f1_training.data.fastf1_fetch", description=__doc__)
    parser.add_argument("--season", type=int, required=True)
    parser.add_argument("--rounds", default="")
    parser.add_argument("--today", type=date.fromisoformat, required=True)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args(arguments)
    rounds = [int(number) for number in options.rounds.split(",")] if options.rounds else None
    options.into.mkdir(parents=True, exist_ok=True)
    try:
        tables = season_tables(options.season, rounds, cache=options.cache, today=options.today)
        for number, (name, rows) in enumerate(tables):
            pq.write_table(rows, options.into / f"{name}-{options.season}-{number:03d}.parquet")
    except TrainingFailure as e:
        print(f"{e.reason.value}: {e}", file=sys.stderr)  # noqa: T201 - a program's error
        return EXIT_CODES[e.reason]
    return 0


if __name__ == "__main__":
    sys.exit(main())
