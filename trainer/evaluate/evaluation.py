"""One evaluation: fetch the model, read the rows, predict, score, write the document."""

from __future__ import annotations

from collections.abc import Sequence
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
    LinearBaseline,
    Objective,
    TrainingFailure,
)
from trainer.contract.objects import sha256
from trainer.data import read_table
from trainer.data.reading import split_condition
from trainer.data.rows import column
from trainer.evaluate.bootstrap import paired
from trainer.evaluate.breakdown import broken_down
from trainer.evaluate.curves import spread
from trainer.evaluate.details import details
from trainer.evaluate.linear import fit
from trainer.evaluate.score import Score, Scored, is_classifier, losses, macro_f1, named, score, shown
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
    extra = tuple(by.snapshot_column for by in spec.breakdowns if by.column)
    rows = read_table(spec.table, (*spec.features, spec.target, GROUP, *extra), split_condition(spec.split))
    rows = with_target(rows, spec.target)
    features = matrix(model.features, rows)
    predicted = _predicted(model, rows, features, spec.target, GROUP)
    scored = score(predicted, model.objective, spec.baseline)
    values = shown(predicted, model.objective)
    beside, more = _linear(spec, features, predicted)
    result = EvaluationResult(
        job_id=spec.job_id,
        model_type=spec.model_type,
        model_uri=spec.model_uri,
        model_sha256=spec.model_sha256,
        table=spec.table,
        split=spec.split,
        rows=scored.rows,
        metrics={**scored.metrics, **more},
        by_group=scored.by_group,
        intervals=scored.intervals,
        unit=spec.unit,
        comparison=_compared(spec, rows, predicted),
        linear=beside,
        breakdowns={by.name: broken_down(by, rows, features, spec.features, values) for by in spec.breakdowns},
        details=details(
            engine_for(model.engine),
            model.document,
            predicted,
            features,
            model.features,
            objective=model.objective,
            wanted=spec.curves,
            threads=model.threads,
        ),
    )
    folder, _, name = spec.output.rpartition("/")
    store = open_store(folder)
    with storage_errors(spec.output):
        return result, store.uri_of(store.create_beside(name, result.to_json().encode()))


def _linear(spec: EvaluationSpec, features: Floats, own: Scored) -> tuple[LinearBaseline | None, dict[str, float]]:
    """A linear model, fitted on training rows, beside the model on the test rows; and its metrics."""
    wanted = spec.linear
    if wanted is None:
        return None, {}
    columns = (*spec.features, spec.target, "shard", "row_key")
    rows = read_table(wanted.table, columns, split_condition(wanted.split, wanted.shards))
    # In a fixed order, and only so many, evenly over all: the same rows whenever this is done again.
    rows = with_target(rows, spec.target).sort_by([("shard", "ascending"), ("row_key", "ascending")])
    rows = rows.take(spread(rows.num_rows, wanted.most))
    fitted = fit(matrix(spec.features, rows), column(rows, spec.target), spec.objective, spec.classes)
    others = Scored(target=own.target, predictions=fitted.predict(features), groups=own.groups)
    metric, mine = losses(own, spec.objective)
    theirs = losses(others, spec.objective)[1]
    difference, around = paired(mine, theirs, own.groups)
    beside = LinearBaseline(
        metric=metric,
        own=float(mine.mean()),
        linear=float(theirs.mean()),
        difference=difference,
        interval=around,
        rows=rows.num_rows,
    )
    if not is_classifier(spec.objective):
        return beside, {"linear_mae": beside.linear}
    found = named(others)
    return beside, {
        "linear_log_loss": beside.linear,
        "linear_macro_f1": macro_f1(found.labels, found.predicted, found.classes),
    }


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
    missing = [name for name in (*model.features, target, group) if name not in rows.column_names]
    if missing:
        raise TrainingFailure(FailureReason.DATA_INVALID, f"the rows lack the columns {', '.join(missing)}")
    known = with_target(rows, target)
    return _predicted(model, known, matrix(model.features, known), target, group)


def with_target(rows: pa.Table, target: str) -> pa.Table:
    """Those of ``rows`` that have a target.

    Raises:
        TrainingFailure: ``DataInvalid`` when none has.
    """
    known = rows.filter(rows[target].is_valid())
    if not known.num_rows:
        message = f"none of {rows.num_rows} rows has a value in column {target!r}; there is nothing to score"
        raise TrainingFailure(FailureReason.DATA_INVALID, message)
    return known


def matrix(features: Sequence[str], rows: pa.Table) -> Floats:
    """[rows, features], NaN where a value is missing."""
    return np.column_stack([column(rows, name).astype(np.float32) for name in features])


def _predicted(model: Model, rows: pa.Table, features: Floats, target: str, group: str) -> Scored:
    predictions = engine_for(model.engine).predict(model.document, features, threads=model.threads)
    groups = [str(name) for name in rows[group].to_pylist()]
    return Scored(target=column(rows, target), predictions=predictions, groups=groups)


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
