"""A version of the registry, ready to predict: read from its folder, or found through the alias ``champion``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.boosters import engine_for
from trainer.boosters.engine import Predictor
from trainer.contract import Engine, FailureReason, Objective, ObjectStore, TrainingFailure
from trainer.contract.objects import sha256
from trainer.serve.answers import Label, answers
from trainer.serve.rows import matrix, read_instances
from trainer.storage import open_store, storage_errors

CARD = "model_card.json"
#: What is read of a card.
FIELDS = tuple("booster sha256 engine objective classes model_type model_version features target unit".split())
ALIAS = "aliases/champion"
EVENT = re.compile(r"\d{6}\.json")


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """One version. ``predict`` takes [rows, features] float32, NaN where missing, in the order of ``features``.

    ``labels`` are a classifier's classes, by name or number, in the order of their numbers; empty for a regression.
    """

    model_type: str
    version: str
    engine: Engine
    features: tuple[str, ...]
    target: str
    unit: str
    labels: tuple[Label, ...]
    sha256: str
    predict: Predictor

    def about(self) -> dict[str, Any]:
        """What a client may want to know, as plain JSON values."""
        return {
            "model_type": self.model_type,
            "model_version": self.version,
            "engine": self.engine.value,
            "target": self.target,
            "unit": self.unit,
            "features": list(self.features),
            "classes": list(self.labels),
        }

    def example(self) -> dict[str, Any]:
        """A request that works: a row of this model's features, and one in which the last is not known."""
        row = dict.fromkeys(self.features, 1.0)
        return {"instances": [row, {**row, self.features[-1]: None}]}

    def answer(self, body: bytes) -> dict[str, Any]:
        """What is answered to the body of a request.

        Raises:
            InvalidRequestError: naming what is wrong with it.
        """
        rows = matrix(read_instances(body), self.features)
        return {"predictions": answers(self.predict(rows), self.labels)}

    def warm_up(self) -> None:
        """Predict once, so that the first request does not wait for what a library does at its first use.

        Raises:
            TrainingFailure: ``DataInvalid`` when the model cannot predict rows of its own features.
        """
        row: npt.NDArray[np.float32] = np.full((1, len(self.features)), np.nan, np.float32)
        shape = (1, len(self.labels)) if len(self.labels) > 2 else (1,)
        try:
            found = self.predict(row)
        except Exception as e:
            message = f"{self.model_type} {self.version} cannot predict a row of its own features: {e}"
            raise TrainingFailure(FailureReason.DATA_INVALID, message) from e
        if found.shape != shape or not np.all(np.isfinite(found)):
            message = f"{self.model_type} {self.version} predicts {found!r} for a row of missing values"
            raise TrainingFailure(FailureReason.DATA_INVALID, message)


def load(folder_uri: str, threads: int = 1) -> ServedModel:
    """The version in ``folder_uri``, which holds a model card and the booster that it names.

    Raises:
        TrainingFailure: ``ConfigInvalid`` when they are not there, ``DataInvalid`` when the booster is not the one that
            its card names; what the storage refused.
    """
    store = open_store(folder_uri)
    with storage_errors(folder_uri):
        card = _card(store)
        booster = _read(store, str(card["booster"]))
    digest = sha256(booster)
    if digest != card["sha256"]:
        message = (
            f"{store.uri_of(str(card['booster']))} has sha256 {digest[:12]}, its model card says "
            f"{str(card['sha256'])[:12]}: it is not the model that was registered, and is not served"
        )
        raise TrainingFailure(FailureReason.DATA_INVALID, message)
    try:
        engine = Engine(card["engine"])
        model = ServedModel(
            model_type=str(card["model_type"]),
            version=str(card["model_version"]),
            engine=engine,
            features=tuple(card["features"]),
            target=str(card["target"]),
            unit=str(card["unit"]),
            labels=_labels(card),
            sha256=digest,
            predict=engine_for(engine).predictor(booster, threads),
        )
    except TrainingFailure:
        raise
    except Exception as e:  # a library has its own errors for a file that it cannot read
        message = f"{store.uri_of(CARD)}: its model cannot be loaded: {type(e).__name__}: {e}"
        raise TrainingFailure(FailureReason.DATA_INVALID, message) from e
    model.warm_up()
    return model


def _labels(card: dict[str, Any]) -> tuple[Label, ...]:
    objective = Objective(card["objective"])
    if objective is Objective.MULTICLASS:
        count = int(card["classes"])
    elif objective is Objective.BINARY_LOGISTIC:
        count = 2
    else:
        return ()
    names = tuple(str(name) for name in card.get("class_names", ()))
    if names and len(names) != count:
        raise ValueError(f"class_names are {len(names)}, the model has {count} classes")
    return names or tuple(range(count))


def champion_version(store: ObjectStore) -> str:
    """The version that the alias means in the registry's folder of one model.

    Raises:
        TrainingFailure: ``ConfigInvalid`` when no version was ever promoted; what the storage refused.
    """
    uri = store.uri_of(ALIAS)
    events = _promotions(store)
    if not events:
        message = f"{uri} is empty: no version was ever promoted; run f1_training, or name a version's folder"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    with storage_errors(uri):
        return str(json.loads(store.read(max(events)))["model_version"])


def _promotions(store: ObjectStore) -> list[str]:
    with storage_errors(store.uri_of(ALIAS)):
        return [name for name in store.list(ALIAS) if EVENT.fullmatch(name.rpartition("/")[2])]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where the model comes from: ``version`` says which is wanted now, ``there`` whether one is, ``folder`` where."""

    version: Callable[[], str]
    folder: Callable[[str], str]
    there: Callable[[], bool]


def source_of(uri: str) -> Source:
    """A version's folder, which stays, or the registry's folder of a model, whose champion is followed.

    Raises:
        TrainingFailure: what the storage refused.
    """
    store = open_store(uri)
    with storage_errors(uri):
        fixed = store.exists(CARD)
    if fixed:
        return Source(version=lambda: uri, folder=lambda _version: uri, there=lambda: True)
    return Source(version=lambda: champion_version(store), folder=store.uri_of, there=lambda: bool(_promotions(store)))


def _card(store: ObjectStore) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads(_read(store, CARD))
        for name in FIELDS:
            card[name]
    except (ValueError, KeyError, TypeError) as e:
        raise TrainingFailure(FailureReason.DATA_INVALID, f"{store.uri_of(CARD)} is no model card: {e}") from e
    return card


def _read(store: ObjectStore, name: str) -> bytes:
    try:
        return store.read(name)
    except FileNotFoundError as e:
        raise TrainingFailure(FailureReason.CONFIG_INVALID, f"{store.uri_of(name)} is not there") from e
