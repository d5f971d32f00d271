"""Label and field selectors, as ``kubectl get -l`` and ``--field-selector`` take them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

SET = re.compile(r"^(?P<key>[^\s!=,]+)\s+(?P<op>in|notin)\s+\((?P<values>[^)]*)\)$")
EQUAL = re.compile(r"^(?P<key>[^\s!=,]+)\s*(?P<op>==|!=|=)\s*(?P<value>[^\s]*)$")


class SelectorError(ValueError):
    """A selector cannot be parsed."""


def matches(item: Mapping[str, Any], labels: str = "", fields: str = "") -> bool:
    """Whether ``item`` is selected by both selectors; an empty one selects everything."""
    own = (item.get("metadata") or {}).get("labels") or {}
    return all(_holds(t, own.get) for t in _terms(labels)) and all(
        _holds(t, lambda path: _field(item, path)) for t in _terms(fields)
    )


def has_labels(item: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Whether ``item`` carries every wanted label, as a Service's selector asks."""
    own = (item.get("metadata") or {}).get("labels") or {}
    return bool(wanted) and all(own.get(k) == v for k, v in wanted.items())


def _terms(selector: str) -> list[str]:
    return [t.strip() for t in re.split(r",(?![^(]*\))", selector) if t.strip()]


def _holds(term: str, value_of: Callable[[str], Any]) -> bool:
    if found := SET.match(term):
        value, values = value_of(found["key"]), {v.strip() for v in found["values"].split(",")}
        return (value in values) == (found["op"] == "in")
    if found := EQUAL.match(term):
        return (str(value_of(found["key"]) or "") == found["value"]) == (found["op"] != "!=")
    if re.fullmatch(r"!?[^\s!=,()]+", term):
        absent = term.startswith("!")
        return (value_of(term.lstrip("!")) is None) == absent
    raise SelectorError(f"unable to parse requirement: {term!r}")


def _field(item: Mapping[str, Any], path: str) -> Any:
    value: Any = item
    for part in path.split("."):
        value = (value or {}).get(part)
    return value
