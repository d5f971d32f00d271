"""Where the chief's spec comes from: the environment, a document, or a model of the catalogue in shorthand."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from trainer.contract import (
    CheckpointPolicy,
    ModelEntry,
    OutputUris,
    SnapshotRef,
    TrainingSpec,
    read_catalogue,
)
from trainer.contract.catalogue import CatalogueError, check_workers, device_for, with_engine
from trainer.contract.spec import DEFAULT_WORKERS
from trainer.environment import config_error, read_int
from trainer.storage import open_store, storage_errors


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """A wrong command line is a wrong configuration: the same outcome and exit code."""
        raise config_error(f"{self.prog}: {message}")


def parser(prog: str) -> argparse.ArgumentParser:
    """The command line that chief and worker share."""
    p = _Parser(prog=prog, description="Train one model. The environment's TRAINING_SPEC, or --spec, is the whole job.")
    p.add_argument("--spec", help="URI or path of a TrainingSpec document")
    short = p.add_argument_group("shorthand for a model of the catalogue, on rows that are staged already")
    short.add_argument("--model-type", help="name in the catalogue")
    short.add_argument("--data-split", help="split to train on (default: the catalogue's)")
    short.add_argument("--output-uri", help="checkpoints and model go below this URI, in a folder named by the job")
    short.add_argument("--snapshot", help="the staged rows: project.dataset.table")
    short.add_argument("--num-workers", type=int, help="default: TOTAL_WORKERS, else 4")
    short.add_argument("--rounds", type=int, help="default: the catalogue's")
    short.add_argument("--engine", help="xgboost or lightgbm (default: the catalogue's)")
    short.add_argument("--device", default="cpu", help="cpu or gpu")
    short.add_argument("--job-id", help="default: TRAINING_JOB_ID")
    return p


def read_spec(argv: Sequence[str], environ: Mapping[str, str]) -> TrainingSpec:
    """The job to do: ``--spec``, else environment ``TRAINING_SPEC``, else the shorthand.

    Raises:
        TrainingFailure: ``ConfigInvalid`` naming what is wrong or missing.
        ContractError: a field of the spec is wrong.
    """
    options = parser("trainer.chief").parse_args(list(argv))
    if options.spec:
        spec = TrainingSpec.from_json(read_document(options.spec))
    elif environ.get("TRAINING_SPEC"):
        spec = TrainingSpec.from_json(environ["TRAINING_SPEC"])
    else:
        spec = _from_shorthand(options, environ)
    named = environ.get("TRAINING_JOB_ID")
    if named and named != spec.job_id:
        raise config_error(f"TRAINING_JOB_ID is {named!r}, the spec's job_id {spec.job_id!r}")
    if environ.get("TOTAL_WORKERS") and read_int(environ, "TOTAL_WORKERS", least=1) != spec.num_workers:
        raise config_error(f"TOTAL_WORKERS is {environ['TOTAL_WORKERS']}, the spec's num_workers {spec.num_workers}")
    return spec


def read_document(place: str) -> bytes:
    """The bytes at ``place``, a URI or a path.

    Raises:
        TrainingFailure: ``ConfigInvalid`` when nothing is there, or what the storage refused.
    """
    uri = place if "://" in place else Path(place).resolve().as_uri()
    folder, _, name = uri.rpartition("/")
    try:
        with storage_errors(uri):
            return open_store(folder).read(name)
    except FileNotFoundError as e:
        raise config_error(f"{place}: there is no such document") from e


def _from_shorthand(options: argparse.Namespace, environ: Mapping[str, str]) -> TrainingSpec:
    wanted = {"--model-type": options.model_type, "--output-uri": options.output_uri, "--snapshot": options.snapshot}
    wanted["--job-id or TRAINING_JOB_ID"] = job_id = options.job_id or environ.get("TRAINING_JOB_ID")
    missing = [name for name, value in wanted.items() if not value]
    if missing:
        raise config_error(f"no TRAINING_SPEC and no --spec, and the shorthand lacks {', '.join(missing)}")
    try:
        entry = with_engine(read_catalogue().entry(options.model_type), options.engine)
    except CatalogueError as e:
        raise config_error(str(e)) from e
    workers = options.num_workers
    if workers is None:
        workers = read_int(environ, "TOTAL_WORKERS", DEFAULT_WORKERS, least=1)
    check_workers(entry, workers)
    train = options.data_split or entry.splits.train
    return TrainingSpec(
        job_id=str(job_id),
        model_type=entry.model_type,
        engine=entry.engine,
        objective=entry.objective,
        metric=entry.metric,
        classes=entry.classes,
        features=entry.features,
        rounds=entry.rounds if options.rounds is None else options.rounds,
        early_stopping_rounds=entry.early_stopping_rounds,
        seed=entry.seed,
        params=entry.engine_params(entry.engine),
        device=device_for(entry.engine, options.device),
        snapshot=_counted(entry, options.snapshot, (train, entry.splits.validation)),
        output=_outputs(options.output_uri, str(job_id)),
        num_workers=workers,
        train_split=train,
        validation_split=entry.splits.validation,
        checkpoint=CheckpointPolicy(segment_rounds=entry.segment_rounds),
    )


def _outputs(uri: str, job_id: str) -> OutputUris:
    base = f"{uri.rstrip('/')}/{job_id}"
    return OutputUris(checkpoints=f"{base}/checkpoints", artifacts=f"{base}/artifacts")


def _counted(entry: ModelEntry, table: str, splits: Sequence[str]) -> SnapshotRef:
    """The staged snapshot with its rows counted, because nobody who made it says how many there are."""
    from trainer.data import count_rows  # the BigQuery client is slow to import

    # Checked before the table's name is used for anything.
    empty = SnapshotRef(table=table, logical_shards=entry.logical_shards, rows={})
    rows = count_rows(empty.table, splits, empty.logical_shards)
    return SnapshotRef(table=table, logical_shards=entry.logical_shards, rows=rows)
