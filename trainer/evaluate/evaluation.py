"""One evaluation: fetch the model, read the rows, predict, score, write the document."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from trainer.boosters import engine_for
from trainer.boosters.engine import Floats
from trainer.contract import (
    Comparison,
    Engine,
    EvaluationResult,
    EvaluationSpec,
    FailureReason,
    Objective,
    TrainingFailure,
)
from trainer.contract.objects import sha256
from trainer.data import read_table
from trainer.data.reading import split_condition
from trainer.data.rows import column
from trainer.evaluate.details import details
from trainer.evaluate.score import Score, Scored, losses, paired, score
from trainer.storage import open_store, storage_errors

GROUP = "group_id"


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A finished booster and what is needed to use it."""

    engine: Engine
    objective: Objective
    document: bytes
    features: tuple[str, ...]
    threads: int = 1


def evaluate(spec: EvaluationSpec) -> tuple[EvaluationResult, str]:
    """Do what ``spec`` says. Returns the result and its URI: ``spec.output``, or beside it where another result is.

    Raises:
        TrainingFailure: ``DataInvalid`` when the model is not the one that the spec names, or there are no rows; or
            what BigQuery or the storage refused.
    """
    model = Model(
        engine=spec.engine,
        objective=spec.objective,
        document=_download(spec.model_uri, spec.model_sha256),
        features=spec.features,
        threads=spec.threads,
    )
    rows = read_table(spec.table, (*spec.features, spec.target, GROUP), split_condition(spec.split))
    predicted, features = _predicted(model, rows, spec.target, GROUP)
    scored = score(predicted, model.objective, spec.baseline)
    result = EvaluationResult(
        job_id=spec.job_id,
        model_type=spec.model_type,
        model_uri=spec.model_uri,
        model_sha256=spec.model_sha256,
        table=spec.table,
        split=spec.split,
        rows=scored.rows,
        metrics=scored.metrics,
        by_group=scored.by_group,
        intervals=scored.intervals,
        unit=spec.unit,
        comparison=_compared(spec, rows, predicted),
        details=details(
            engine_for(model.engine),
            model.document,
            predicted,
            features,
            model.features,
            objective=model.objective,
            curve=spec.curve,
            threads=model.threads,
        ),
    )
    folder, _, name = spec.output.rpartition("/")
    store = open_store(folder)
    with storage_errors(spec.output):
        return result, store.uri_of(store.create_beside(name, result.to_json().encode()))


def _compared(spec: EvaluationSpec, rows: pa.Table, own: Scored) -> Comparison | None:
    """The model beside the champion, which is scored on the same rows.

    A champion that cannot be scored is a finding and no failure: otherwise nothing could ever replace it.
    """
    champion = spec.champion
    if champion is None:
        return None
    missing = sorted(set(champion.features) - set(spec.features))
    if missing:
        problem = f"its features {', '.join(missing)} are not among the rows of this run"
        return Comparison(version=champion.version, problem=problem)
    try:
        document = _download(champion.model_uri, champion.model_sha256)
        model = Model(
            engine=champion.engine,
            objective=spec.objective,
            document=document,
            features=champion.features,
            threads=spec.threads,
        )
        others = predict_table(model, rows, target=spec.target)
        metric, mine = losses(own, spec.objective)
        theirs = losses(others, spec.objective)[1]
    except TrainingFailure as e:
        if e.reason not in (FailureReason.CONFIG_INVALID, FailureReason.DATA_INVALID):
            raise
        return Comparison(version=champion.version, problem=str(e))
    difference, between = paired(mine, theirs, own.groups)
    return Comparison(
        version=champion.version,
        metric=metric,
        own=float(mine.mean()),
        champion=float(theirs.mean()),
        difference=difference,
        interval=between,
    )


def score_table(model: Model, rows: pa.Table, *, target: str, baseline: float = 0.0, group: str = GROUP) -> Score:
    """Score ``model`` on ``rows``: a table with its features, the columns ``target`` and ``group``.

    Rows without a target are left out.

    Raises:
        TrainingFailure: ``DataInvalid`` when a column is missing, or no row is left.
    """
    return score(predict_table(model, rows, target=target, group=group), model.objective, baseline)


def predict_table(model: Model, rows: pa.Table, *, target: str, group: str = GROUP) -> Scored:
    """What ``model`` predicts for those of ``rows`` that have a target.

    Raises:
        TrainingFailure: ``DataInvalid`` when a column is missing, or no row is left.
    """
    return _predicted(model, rows, target, group)[0]


def _predicted(model: Model, rows: pa.Table, target: str, group: str) -> tuple[Scored, Floats]:
    """What ``model`` predicts, and from what: [rows, features] of the rows that have a target."""
    missing = [name for name in (*model.features, target, group) if name not in rows.column_names]
    if missing:
        raise TrainingFailure(FailureReason.DATA_INVALID, f"the rows lack the columns {', '.join(missing)}")
    known = rows.filter(rows[target].is_valid())
    if not known.num_rows:
        message = f"none of {rows.num_rows} rows has a value in column {target!r}; there is nothing to score"
        raise TrainingFailure(FailureReason.DATA_INVALID, message)
    features = np.empty((known.num_rows, len(model.features)), np.float32)
    for number, name in enumerate(model.features):
        features[:, number] = column(known, name)
    predictions = engine_for(model.engine).predict(model.document, features, threads=model.threads)
    groups = [str(name) for name in known[group].to_pylist()]
    return Scored(target=column(known, target), predictions=predictions, groups=groups), features


def _download(uri: str, expected: str) -> bytes:
    folder, _, name = uri.rpartition("/")
    try:
        with storage_errors(uri):
            data = open_store(folder).read(name)
    except FileNotFoundError as e:
        raise TrainingFailure(FailureReason.CONFIG_INVALID, f"{uri}: there is no such model") from e
    if sha256(data) != expected:
        message = f"{uri} is not the model that was trained: its sha256 is {sha256(data)[:12]}, not {expected[:12]}"
        raise TrainingFailure(FailureReason.DATA_INVALID, message)
    return data
