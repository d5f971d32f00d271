"""The OpenAPI document of a server: the features are those of the model that it serves. Pure."""

from __future__ import annotations

from typing import Any

from trainer.serve.model import ServedModel
from trainer.serve.rows import LARGEST, MOST_PROBLEMS, MOST_ROWS

VERSION_HEADER = "x-model-version"
#: Paths of every server, beside those that its settings name.
DOCS, OPENAPI, LIVE = "/docs", "/openapi.json", "/live"

#: What a prediction may be refused with, by status.
REFUSALS = {
    "400": "The body is not JSON in UTF-8",
    "408": "The body did not arrive in time",
    "413": "The body is too large: send fewer rows at a time",
    "415": "The body's content type is not application/json",
    "422": "A row does not fit the model: row and field are named",
    "503": "No version of the model was promoted yet",
}

Schema = dict[str, Any]


def openapi_document(model: ServedModel, health_route: str, predict_route: str) -> Schema:
    """What a client of ``model`` is generated from."""
    version = {VERSION_HEADER: {"description": "The version that answered", "schema": {"type": "string"}}}

    def answer(description: str, schema: str, example: Any = None) -> Schema:
        media = {"schema": _ref(schema)} | ({} if example is None else {"example": example})
        return {"description": description, "headers": version, "content": {"application/json": media}}

    health = {
        "operationId": "health",
        "summary": "Whether it serves, and what",
        "responses": {
            "200": answer("The model", "Health", {"status": "ok", **model.about()}),
            "503": answer("No model is served, or the server is about to stop", "Refusal"),
        },
    }
    live = {
        "operationId": "live",
        "summary": "Whether the process is alive, with or without a model",
        "responses": {"200": answer("It is", "Live")},
    }
    content = {"application/json": {"schema": _ref("Request"), "example": model.example()}}
    predict = {
        "operationId": "predict",
        "summary": f"Predict {described(model)}, a row or many at once",
        "requestBody": {"required": True, "content": content},
        "responses": {"200": answer("A prediction a row, in their order", "Answer")}
        | {status: answer(description, "Refusal") for status, description in REFUSALS.items()},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Predictions of {model.model_type}", "version": model.version},
        "paths": {health_route: {"get": health}, predict_route: {"post": predict}, LIVE: {"get": live}},
        "components": {"schemas": _schemas(model)},
    }


def described(model: ServedModel) -> str:
    """What is predicted, with its unit."""
    return f"{model.target} in {model.unit}" if model.unit else model.target


def _schemas(model: ServedModel) -> Schema:
    number = {
        "type": ["number", "null"],
        "minimum": -LARGEST,
        "maximum": LARGEST,
        "description": "A number; null where it is not known",
    }
    text = {"type": "string"}
    problem = _object({"message": text, "row": {"type": "integer", "minimum": 0}, "field": text}, ["message"])
    labels = {"type": "array", "items": {"type": ["string", "integer"]}}
    health: Schema = {name: text for name, value in model.about().items() if isinstance(value, str)}
    health |= {"features": {"type": "array", "items": text}, "classes": labels, "status": {"const": "ok"}}
    return {
        "Row": _object(dict.fromkeys(model.features, number)),
        "Request": _object(
            {
                "instances": {"type": "array", "items": _ref("Row"), "minItems": 1, "maxItems": MOST_ROWS},
                "parameters": {"description": "Vertex AI sends it; it changes nothing"},
            },
            ["instances"],
        ),
        "Prediction": _prediction(model),
        "Answer": _object({"predictions": {"type": "array", "items": _ref("Prediction"), "minItems": 1}}),
        "Problem": problem,
        "Refusal": _object(
            {
                "error": {"type": "string", "description": "All problems in one sentence"},
                "problems": {"type": "array", "items": _ref("Problem"), "minItems": 1, "maxItems": MOST_PROBLEMS},
            }
        ),
        "Health": _object(health),
        "Live": _object({"status": {"const": "alive"}}),
    }


def _prediction(model: ServedModel) -> Schema:
    if not model.labels:
        return {"type": "number", "description": described(model)}
    count = len(model.labels)
    probability = {"type": "number", "minimum": 0, "maximum": 1.000001}
    listed = {"type": "array", "items": probability, "minItems": count, "maxItems": count}
    classes = ", ".join(map(str, model.labels))
    return _object(
        {
            "class": {"enum": list(model.labels), "description": f"The most probable {model.target}"},
            "probabilities": listed | {"description": f"Of {classes}, in this order"},
        }
    )


def _object(properties: Schema, required: list[str] | None = None) -> Schema:
    """An object of these fields and no others, all required unless it is said which are."""
    needed = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
