"""Small models of every kind that the server serves, trained by the library itself, in a folder as the registry has it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from f1_training.core.plan import RunPlan
from f1_training.core.specs import training_spec
from f1_training.registry.card import Inputs, ModelCard, model_card
from tests.fakes.run_plan import evaluation_result, held_out_snapshot, make_plan, training_result, training_snapshot
from trainer.boosters.lgbm import OBJECTIVES as LIGHTGBM
from trainer.boosters.xgb import OBJECTIVES as XGBOOST
from trainer.contract import Engine, Objective

FEATURES = make_plan().entry.features
VERSION = "20260101-000000-aaaaaa"
CLASSES = 3


def booster(engine: Engine, rounds: int = 5, objective: Objective = Objective.SQUARED_ERROR) -> bytes:
    """A model of the catalogue's features that really learned something from the first, as the library writes it."""
    generator = np.random.default_rng(rounds)
    rows = generator.normal(size=(400, len(FEATURES))).astype(np.float32)
    target = 100 * rows[:, 0] + rounds
    classes = {Objective.MULTICLASS: CLASSES, Objective.BINARY_LOGISTIC: 2}.get(objective, 0)
    if classes:
        target = np.digitize(rows[:, 0], np.quantile(rows[:, 0], np.arange(1, classes) / classes)).astype(np.float64)
    params: dict[str, Any] = {"num_class": CLASSES} if objective is Objective.MULTICLASS else {}
    if engine is Engine.XGBOOST:
        import xgboost

        params |= {"max_depth": 3, "nthread": 1, "objective": XGBOOST[objective]}
        return bytes(xgboost.train(params, xgboost.DMatrix(rows, target), rounds).save_raw("ubj"))
    import lightgbm

    params |= {"num_leaves": 7, "num_threads": 1, "verbosity": -1, "objective": LIGHTGBM[objective]}
    return lightgbm.train(params, lightgbm.Dataset(rows, target), rounds).model_to_string().encode()


def card_of(document: bytes, version: str = VERSION, engine: Engine = Engine.XGBOOST, **changes: Any) -> ModelCard:
    """The card of ``document``, a version of the catalogue's ``tire_degradation``."""
    plan: RunPlan = make_plan()
    plan = replace(plan, model_version=version, entry=replace(plan.entry, engine=engine))
    result = training_result(plan, document)
    inputs = Inputs(spec=training_spec(plan, training_snapshot(plan), 1), test_snapshot=held_out_snapshot(plan))
    return replace(model_card(plan, inputs, result, evaluation_result(plan, result)), **changes)


def version_folder(
    folder: Path, engine: Engine, objective: Objective, class_names: Sequence[str] = (), document: bytes | None = None
) -> str:
    """The URI of ``folder``, with a model and its card as the registry writes them."""
    document = document or booster(engine, objective=objective)
    classes = CLASSES if objective is Objective.MULTICLASS else 0
    card = card_of(document, engine=engine, objective=objective, classes=classes)
    body = json.loads(card.to_json()) | ({"class_names": list(class_names)} if class_names else {})
    folder.mkdir(exist_ok=True)
    (folder / card.booster).write_bytes(document)
    (folder / "model_card.json").write_text(json.dumps(body))
    return f"file://{folder}"
