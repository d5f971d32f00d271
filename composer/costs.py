"""``make costs``: what a weekly run of each model is estimated to cost, by what its versions took, and why."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from composer.local.places import Places
from f1_training import package_version
from f1_training.core.plan import RunIdentity, plan_runs
from f1_training.core.settings import Settings, read_settings
from f1_training.costs.versions import estimated
from trainer.contract import TrainingFailure, read_catalogue

COLUMNS = ("model", "workers", "about USD", "why")


def deployment(models_uri: str) -> Settings:
    """One with the registry at ``models_uri`` and everything else as it is by default: prices, and nodes' overhead."""
    # Nothing but the registry is looked at.
    uris = {"checkpoints": models_uri, "artifacts": models_uri, "models": models_uri}
    return read_settings({"project": "nobody-s-project", "image": "none:0", "uris": uris})


def rows(settings: Settings) -> Iterator[tuple[str, ...]]:
    """A row a model of the catalogue, as a run without any choice would train it."""
    catalogue = read_catalogue()
    identity = RunIdentity(dag_id="f1_training", run_id="next", at=datetime.now(UTC))
    for name in sorted(catalogue.entries):
        (plan,) = plan_runs({"model_type": name}, settings, identity, catalogue, package_version())
        found = estimated(plan)
        usd = f"{found.usd:.2f}" if found.usd is not None else "not known"
        yield name, str(plan.num_workers), usd, found.basis


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", default="", help="of the registry, such as gs://bucket/models")
    uri = parser.parse_args().uri or f"{Places.default().storage_uri}/models"
    table = Table(*COLUMNS, box=None, header_style="bold")
    try:
        for row in rows(deployment(uri)):
            table.add_row(*map(escape, row))
    except TrainingFailure as e:
        print(f"error: {e}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    Console(width=None if sys.stdout.isatty() else 260).print(table)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
