"""XGBoost model files (UBJSON): trees of several segments in one model. Pure; XGBoost itself is not needed.

A linear model (``gblinear``) has no trees: each segment's document is the whole model so far, with the rounds that it
has seen as its attribute ``rounds``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.boosters import ubjson
from trainer.contract.spec import LINEAR


def assemble(documents: Sequence[bytes], *, rounds: int | None = None) -> bytes:
    """One model file with the trees of ``documents`` in order, cut to ``rounds`` boosting rounds.

    Raises:
        ValueError: there is nothing to put together, the documents are of different models, or have too few rounds.
    """
    if not documents:
        raise ValueError("there are no segments to put together")
    whole, *others = (_decode(document) for document in documents)
    if whole["learner"]["gradient_booster"]["name"] == LINEAR:
        return _last(documents[-1], rounds)
    model = _trees(whole)
    for number, other in enumerate(others, start=1):
        for part in ("learner_model_param", "objective", "feature_names"):
            if other["learner"][part] != whole["learner"][part]:
                raise ValueError(f"segment {number} has another {part} than segment 0")
        _append(model, _trees(other))
    if rounds is not None:
        _cut(model, rounds)
    model["gbtree_model_param"]["num_trees"] = str(len(model["trees"]))
    return ubjson.encode(whole)


def _last(document: bytes, rounds: int | None) -> bytes:
    seen = int(_decode(document)["learner"]["attributes"]["rounds"])
    if rounds not in (None, seen):
        raise ValueError(f"cannot cut a linear model of {seen} rounds to {rounds}")
    return document


def _decode(document: bytes) -> dict[str, Any]:
    model = ubjson.decode(document)
    if not isinstance(model, dict) or "learner" not in model:
        raise ValueError("is UBJSON, but no XGBoost model")
    return model


def _trees(document: dict[str, Any]) -> dict[str, Any]:
    booster = document["learner"]["gradient_booster"]
    if booster["name"] != "gbtree":
        raise ValueError(f"is a {booster['name']} model; only gbtree is a sum of trees that can be appended")
    model: dict[str, Any] = booster["model"]
    return model


def _append(model: dict[str, Any], more: dict[str, Any]) -> None:
    before = len(model["trees"])
    for tree in more["trees"]:
        tree["id"] += before
    model["trees"] += more["trees"]
    model["tree_info"] += more["tree_info"]
    model["iteration_indptr"] += [before + start for start in more["iteration_indptr"][1:]]


def _cut(model: dict[str, Any], rounds: int) -> None:
    starts = model["iteration_indptr"]
    if not 1 <= rounds < len(starts):
        raise ValueError(f"cannot cut a model of {len(starts) - 1} rounds to {rounds}")
    count = starts[rounds]
    model["trees"], model["tree_info"] = model["trees"][:count], model["tree_info"][:count]
    model["iteration_indptr"] = starts[: rounds + 1]
