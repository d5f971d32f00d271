"""The finished model: assembled, cut to its best round, written with its :class:`TrainingResult`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainer.boosters import engine_for
from trainer.chief import plan
from trainer.chief.record import libraries
from trainer.contract import ContractError, Manifest, ObjectStore, TrainingResult, TrainingSpec, layout
from trainer.contract.objects import sha256
from trainer.storage import storage_errors


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """What was trained, how long each part took, and what a training process used at most."""

    manifest: Manifest
    manifest_uri: str
    documents: Sequence[bytes]
    seconds: Mapping[str, float]
    usage: Mapping[str, float] = field(default_factory=dict)


def write_result(spec: TrainingSpec, finished: Finished, artifacts: ObjectStore) -> str:
    """Write booster and result below ``artifacts``; the same again changes nothing. Returns the result's URI.

    Nothing is replaced: where another model of this run is there already, this one goes beside it.

    Raises:
        TrainingFailure: what the storage refused, naming the URI.
    """
    rounds = plan.model_rounds(spec, finished.manifest)
    model = engine_for(spec.engine).assemble(list(finished.documents), rounds=rounds)
    name = layout.BOOSTER_FILES[spec.engine.value]
    with storage_errors(artifacts.uri_of(name)):
        name = artifacts.create_beside(name, model)
    result = _result(spec, finished, rounds, artifacts.uri_of(name), model)
    with storage_errors(artifacts.uri_of(layout.RESULT)):
        if _same(artifacts, result):
            return artifacts.uri_of(layout.RESULT)
        return artifacts.uri_of(artifacts.create_beside(layout.RESULT, result.to_json().encode()))


def _result(spec: TrainingSpec, finished: Finished, rounds: int, model_uri: str, model: bytes) -> TrainingResult:
    manifest = finished.manifest
    return TrainingResult(
        job_id=spec.job_id,
        model_type=spec.model_type,
        engine=spec.engine.value,
        model_uri=model_uri,
        sha256=sha256(model),
        bytes=len(model),
        rounds=rounds,
        trained_rounds=manifest.round,
        metric=spec.metric.value,
        metrics=_metrics(spec, manifest, rounds),
        history=manifest.history,
        rows={split: sum(counts) for split, counts in spec.snapshot.rows.items()},
        workers=len(manifest.group),
        manifest_uri=finished.manifest_uri,
        libraries=libraries(),
        lineage=manifest.lineage,
        seconds={name: round(s, 3) for name, s in finished.seconds.items()},
        features=spec.features,
        usage={name: round(value, 3) for name, value in finished.usage.items()},
    )


def _metrics(spec: TrainingSpec, manifest: Manifest, rounds: int) -> dict[str, float]:
    """The metric of each split at ``rounds``; that of the training split is known at boundaries only."""
    metrics = {split: values[rounds - 1] for split, values in manifest.history.items() if len(values) >= rounds}
    boundaries = [part.last_round for part in manifest.segments]
    if rounds in boundaries and len(manifest.train_history) == len(boundaries):
        metrics[spec.train_split] = manifest.train_history[boundaries.index(rounds)]
    return metrics


def _same(artifacts: ObjectStore, result: TrainingResult) -> bool:
    """Whether the result of this very model is there already: it keeps the times of the chief that trained it."""
    try:
        written = TrainingResult.from_json(artifacts.read(layout.RESULT))
    except (FileNotFoundError, ContractError, UnicodeDecodeError):
        return False
    return (written.sha256, written.manifest_uri) == (result.sha256, result.manifest_uri)
