"""Terraform's functions, as many as our files call."""

from __future__ import annotations

import json
import math
import re
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from composer.policy.expressions import ExpressionError


def functions_of(folder: Path) -> Mapping[str, Callable[..., Any]]:
    """By name; files are read below ``folder``, as Terraform was started there."""
    return {
        "alltrue": all,
        "can": _never,
        "ceil": math.ceil,
        "concat": lambda *lists: [item for items in lists for item in items],
        "contains": lambda items, item: item in items,
        "file": lambda path: (folder / path).read_text(),
        "flatten": _flat,
        "floor": math.floor,
        "join": lambda between, items: between.join(items),
        "jsonencode": lambda value: json.dumps(value, separators=(",", ":"), sort_keys=True),
        "length": len,
        "max": max,
        "merge": lambda *maps: {key: value for of in maps for key, value in of.items()},
        "regex": _regex,
        "split": lambda between, text: text.split(between),
        "replace": lambda text, old, new: text.replace(old, new),
        "slice": lambda items, first, after: items[int(first) : int(after)],
        "sum": sum,
        "templatefile": lambda path, values: string.Template((folder / path).read_text()).substitute(values),
        "tonumber": float,
        "toset": frozenset,
        "tostring": str,
        "upper": str.upper,
        "urlencode": lambda text: quote(text, safe=""),
        "yamldecode": yaml.safe_load,
    }


def _flat(items: list[Any]) -> list[Any]:
    return [one for item in items for one in (_flat(item) if isinstance(item, list) else [item])]


def _regex(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise ExpressionError(f"{text!r} does not match {pattern!r}")
    return found[0]


def _never(*_: Any) -> Any:
    raise AssertionError("`can` is evaluated by the parser, since it swallows errors")
