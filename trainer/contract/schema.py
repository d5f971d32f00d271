"""``python -m trainer.contract.schema``: the JSON schema of a catalogue file, made from the dataclasses.

Editors that know JSON schemas complete and check ``models/*.toml`` with it as they are typed; what decides is
:func:`trainer.contract.catalogue.read_entry`, which knows more: that features are no target, that pods fit their nodes.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.contract.catalogue import ALL_MODELS, FOLDER, SCHEMA, ModelEntry
from trainer.contract.rules import Rule, hints_of, rules_of
from trainer.contract.spec import METRICS, Objective

PATH: Path = FOLDER / "schema.json"
TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def catalogue_schema() -> dict[str, Any]:
    """The schema of one file, JSON Schema draft 2020-12."""
    definitions: dict[str, Any] = {}
    root = _object(ModelEntry, definitions)
    root["properties"]["schema"] = {"const": SCHEMA, "description": "Version of this format."}
    root["properties"]["model_type"]["not"] = {"const": ALL_MODELS}
    root["required"] = ["schema", *root["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A model of the catalogue",
        **root,
        "allOf": [*(_fitting(objective) for objective in Objective), _names_are_multiclass()],
        "$defs": definitions,
    }


def text() -> str:
    """The schema as it is kept beside the files."""
    return json.dumps(catalogue_schema(), indent=2) + "\n"


def _fitting(objective: Objective) -> dict[str, Any]:
    metrics = {"enum": [metric.value for metric in METRICS[objective]]}
    chosen = {"properties": {"objective": {"const": objective.value}}, "required": ["objective"]}
    then: dict[str, Any] = {"metric": metrics}
    if objective is Objective.MULTICLASS:
        either = [{"required": ["class_names"]}, {"required": ["classes"], "properties": {"classes": {"minimum": 2}}}]
        return {"if": chosen, "then": {"properties": then, "anyOf": either}}
    return {"if": chosen, "then": {"properties": {**then, "classes": {"const": 0}}}}


def _names_are_multiclass() -> dict[str, Any]:
    named = {"properties": {"class_names": {"minItems": 1}}, "required": ["class_names"]}
    return {"if": named, "then": {"properties": {"objective": {"const": Objective.MULTICLASS.value}}}}


def _object(target: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a dataclass; those that it holds go into ``definitions``."""
    about, hints = _arguments(target), hints_of(target)
    properties, required = {}, []
    for field in dataclasses.fields(target):
        schema = _value(hints[field.name], definitions)
        if field.name in about:
            schema["description"] = about[field.name]
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            required.append(field.name)
        elif isinstance(field.default, (str, int, float, bool)):
            schema["default"] = field.default.value if isinstance(field.default, enum.Enum) else field.default
        properties[field.name] = schema
    return {
        "type": "object",
        "description": _summary(target),
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _value(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    plain, rules = rules_of(hint)
    schema = _plain(plain, definitions)
    for rule in rules:
        schema.update(_ruled(rule, schema.get("type")))
    return schema


def _plain(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        concrete = [option for option in inner if option is not type(None)]  # TOML has no null
        if len(concrete) == 1:
            return _value(concrete[0], definitions)
        return {"type": [TYPES[option] for option in concrete]}
    if origin is tuple:
        return {"type": "array", "items": _value(inner[0], definitions)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _value(inner[1], definitions)}
    if issubclass(hint, enum.Enum):
        return {"enum": [member.value for member in hint]}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    return {"type": TYPES[hint]}


def _ruled(rule: Rule, kind: Any) -> dict[str, Any]:
    found = {
        "minimum": rule.least,
        "maximum": rule.most,
        "pattern": f"^(?:{rule.pattern})$" if rule.pattern else None,
        "propertyNames": {"enum": [str(key) for key in rule.keys]} if rule.keys else None,
        "uniqueItems": True if rule.distinct else None,
    }
    if rule.filled:
        found |= {"minItems": 1} if kind == "array" else {"pattern": r"\S"}
    return {name: value for name, value in found.items() if value is not None}


def _summary(target: type) -> str:
    """The docstring's text before its list of arguments, as one line a paragraph."""
    described = (inspect.getdoc(target) or "").partition("\nArgs:\n")[0].strip()
    return "\n\n".join(" ".join(part.split()) for part in described.split("\n\n"))


def _arguments(target: type) -> dict[str, str]:
    """What the docstring says of each argument."""
    listed = (inspect.getdoc(target) or "").partition("\nArgs:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in found}


if __name__ == "__main__":
    sys.stdout.write(text())
