"""``make score``: the champion on laps it never saw; one JSON line.

The laps go through the same process SQL as training data, in a scratch dataset of a BigQuery stand-in of its own or of
the stack that is up, and are predicted with the registered booster, whose checksum is verified first.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from composer.local import laps
from composer.local.bigquery.testing import running_bigquery
from composer.local.places import Places
from composer.local.running import running_stack
from f1_training.core.storage import read_object
from f1_training.data.suite import strategy_suites
from f1_training.registry.card import ModelCard
from f1_training.registry.store import Registry
from trainer.contract import CatalogueError, Engine, FailureReason, TrainingFailure, read_catalogue
from trainer.contract.evaluation import IN_UNIT
from trainer.contract.objects import sha256
from trainer.data.reading import storage_read_client
from trainer.evaluate.evaluation import Model, score_table


def score(places: Places, model_type: str, path: Path) -> dict[str, Any]:
    """Score the champion of ``model_type`` on the laps in ``path``.

    Raises:
        LapsError: the laps cannot be used.
        CatalogueError: there is no such model.
        TrainingFailure: there is no champion, or its booster is not what was registered.
    """
    entry = read_catalogue().entry(model_type)
    laps.validate_laps(path, for_scoring=True)
    card, booster = _champion(places, model_type)
    with _bigquery(places) as (rest, storage):
        reader = storage_read_client(storage)
        scratch = f"f1_score_{uuid.uuid4().hex[:12]}"
        suite = next(s.name for s in strategy_suites().values() if entry.splits.test in s.labels)
        rows = laps.process_for_scoring(laps.emulator_client(rest), path, scratch, suite=suite, reader=reader)
    eligible = rows.filter(pc.fill_null(rows[entry.eligible], False))
    if not eligible.num_rows:
        raise laps.LapsError(f"{path}: none of the {rows.num_rows} laps can be scored (column {entry.eligible})")
    model = Model(engine=Engine(card.engine), objective=entry.objective, document=booster, features=card.features)
    found = score_table(model, eligible, target=entry.target, baseline=entry.baseline, group=entry.group)
    unit = f"_{entry.unit}" if entry.unit else ""
    by = "mae" if "test_mae" in found.metrics else "accuracy"
    return {
        "model_type": model_type,
        "version": card.model_version,
        "rows": found.rows,
        **{name.removeprefix("test_") + (unit if name in IN_UNIT else ""): v for name, v in found.metrics.items()},
        "by_race": {g.group: {"rows": g.rows, by + unit: g.value} for g in found.by_group},
    }


def _champion(places: Places, model_type: str) -> tuple[ModelCard, bytes]:
    found = Registry(f"{places.storage_uri}/models").champion(model_type)
    if found is None:
        message = f"{model_type} has no champion yet: train one first, with `make run`"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    booster = read_object(found.model_uri)
    if sha256(booster) != found.card.sha256:
        message = f"{found.model_uri} is not what was registered (its SHA-256 differs); register the version again"
        raise TrainingFailure(FailureReason.DATA_INVALID, message)
    return found.card, booster


@contextlib.contextmanager
def _bigquery(places: Places) -> Iterator[tuple[str, str]]:
    info = running_stack(places)
    if info is not None:
        yield info.bigquery, info.bigquery_storage
        return
    with tempfile.TemporaryDirectory(dir=places.folder("tmp")) as folder, running_bigquery(Path(folder)) as found:
        yield found.rest, found.storage


def main() -> int:
    """Parse the command line; one JSON line, or one clear line on standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--laps", required=True)
    parser.add_argument("--model", default="tire_degradation")
    arguments = parser.parse_args()
    if not arguments.laps:
        print("error: LAPS is empty: make score LAPS=path/to/laps.parquet", file=sys.stderr)
        return os.EX_USAGE
    try:
        print(json.dumps(score(Places.default(), arguments.model, Path(arguments.laps))))
    except laps.LapsError as e:
        print(f"error: LAPS: {e}", file=sys.stderr)
        return e.exit_code
    except (CatalogueError, TrainingFailure) as e:
        print(f"error: {e}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
