"""Models of every kind, trained by the library itself, loaded as the registry keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from tests.fakes.served_models import CLASSES, FEATURES, booster, version_folder
from trainer.boosters import engine_for
from trainer.contract import Engine, FailureReason, Objective, TrainingFailure
from trainer.serve.model import load

NAMES = {Objective.BINARY_LOGISTIC: ("calm", "aggressive"), Objective.MULTICLASS: ("calm", "smooth", "aggressive")}


@pytest.mark.parametrize("named", [True, False], ids=["named", "numbered"])
@pytest.mark.parametrize("objective", list(NAMES))
@pytest.mark.parametrize("engine", list(Engine))
def test_a_classifier_answers_with_class_and_probabilities(
    tmp_path: Path, engine: Engine, objective: Objective, named: bool
) -> None:
    names = NAMES[objective]
    document = booster(engine, objective=objective)
    model = load(version_folder(tmp_path / "v", engine, objective, names if named else (), document))
    labels: tuple[Any, ...] = names if named else tuple(range(len(names)))
    assert model.about()["classes"] == list(labels)
    # It learned that the first feature decides.
    rows = [dict.fromkeys(FEATURES, 0.0) | {FEATURES[0]: value} for value in (-3.0, 3.0, None)]
    found = model.answer(json.dumps({"instances": rows}).encode())["predictions"]
    assert [p["class"] for p in found[:2]] == [labels[0], labels[-1]]
    values = np.array([[np.nan if r[f] is None else r[f] for f in FEATURES] for r in rows], np.float32)
    expected = engine_for(engine).predict(document, values)
    for prediction, of_library in zip(found, expected, strict=True):
        assert len(prediction["probabilities"]) == len(labels)
        assert sum(prediction["probabilities"]) == pytest.approx(1.0, abs=1e-6)
        last = of_library if objective is Objective.BINARY_LOGISTIC else of_library[CLASSES - 1]
        assert prediction["probabilities"][-1] == last
        assert prediction["class"] == labels[int(np.argmax(prediction["probabilities"]))]
    example = model.answer(json.dumps(model.example()).encode())
    assert len(example["predictions"]) == 2


def test_a_linear_model_is_served(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(400, len(FEATURES))).astype(np.float32)
    params = {"booster": "gblinear", "updater": "coord_descent", "nthread": 1}
    trained = xgboost.train(params, xgboost.DMatrix(rows, 100 * rows[:, 0]), 20)
    document = bytes(trained.save_raw("ubj"))
    model = load(version_folder(tmp_path / "v", Engine.XGBOOST, Objective.SQUARED_ERROR, document=document))
    asked = [{name: float(v) for name, v in zip(FEATURES, row, strict=True)} for row in rows[:5]]
    found = model.answer(json.dumps({"instances": asked}).encode())["predictions"]
    assert found == pytest.approx(trained.predict(xgboost.DMatrix(rows[:5])).tolist(), rel=1e-5)
    assert model.answer(json.dumps({"instances": [dict.fromkeys(FEATURES)]}).encode())["predictions"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"class_names": ["calm"]}, "class_names are 1, the model has 3 classes"),
        ({"objective": "ranking"}, "'ranking' is not a valid Objective"),
        ({"engine": "catboost"}, "'catboost' is not a valid Engine"),
        ({"classes": 4}, "for a row of missing values"),
        ({"objective": "squared_error"}, "for a row of missing values"),
        ({"unit": None}, None),
    ],
)
def test_a_card_that_is_not_its_model_s_is_refused(tmp_path: Path, changed: dict[str, Any], said: str | None) -> None:
    uri = version_folder(tmp_path / "v", Engine.XGBOOST, Objective.MULTICLASS)
    path = tmp_path / "v" / "model_card.json"
    card = json.loads(path.read_text()) | {k: v for k, v in changed.items() if v is not None}
    path.write_text(json.dumps({k: v for k, v in card.items() if changed.get(k, "") is not None}))
    with pytest.raises(TrainingFailure, match=said or "is no model card: 'unit'") as caught:
        load(uri)
    assert caught.value.reason is FailureReason.DATA_INVALID


@pytest.mark.parametrize("engine", list(Engine))
def test_a_file_that_the_library_cannot_read_is_refused_though_its_checksum_is_right(
    tmp_path: Path, engine: Engine
) -> None:
    uri = version_folder(tmp_path / "v", engine, Objective.SQUARED_ERROR, document=b"no model")
    with pytest.raises(TrainingFailure, match="its model cannot be loaded") as caught:
        load(uri)
    assert caught.value.reason is FailureReason.DATA_INVALID
