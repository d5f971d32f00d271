"""Rows of a request, checked against the model's features: what is wrong is named by row and field."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

#: Of one request.
MOST_ROWS = 10_000
MOST_PROBLEMS = 10


class InvalidRequestError(ValueError):
    """The request cannot be answered. ``problems`` name row and field; ``status`` is the HTTP status."""

    def __init__(self, problems: Sequence[dict[str, Any]], status: int = 422) -> None:
        super().__init__("; ".join(str(problem["message"]) for problem in problems))
        self.problems = list(problems)
        self.status = status


def read_instances(body: bytes) -> list[Any]:
    """The member ``instances`` of a request.

    Raises:
        InvalidRequestError: 400 for what is no JSON object, 422 for another shape.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise InvalidRequestError([_problem(f"the body is not JSON: {e}")], 400) from e
    if not isinstance(document, dict):
        raise InvalidRequestError([_problem('the body is not an object such as {"instances": [{...}]}')])
    unknown = sorted(set(document) - {"instances", "parameters"})
    if unknown:
        problem = _problem(f"the body has the unknown field {unknown[0]!r}; known are 'instances' and 'parameters'")
        raise InvalidRequestError([problem | {"field": unknown[0]}])
    instances = document.get("instances")
    if not isinstance(instances, list) or not 1 <= len(instances) <= MOST_ROWS:
        problem = _problem(f"'instances' must be a list of 1 to {MOST_ROWS} rows")
        raise InvalidRequestError([problem | {"field": "instances"}])
    return instances


def matrix(instances: Sequence[Any], features: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """[rows, features] from rows by feature name; a missing value is null.

    Raises:
        InvalidRequestError: naming row and field of the first problems.
    """
    values = np.empty((len(instances), len(features)), np.float32)
    problems: list[dict[str, Any]] = []
    known = set(features)
    for number, row in enumerate(instances):
        if not isinstance(row, dict):
            problems.append(_problem(f"row {number} is not an object of features", row=number))
        else:
            problems += _fill(values[number], row, features, known, number)
        if len(problems) >= MOST_PROBLEMS:
            break
    if problems:
        raise InvalidRequestError(problems[:MOST_PROBLEMS])
    return values


def _fill(
    target: npt.NDArray[np.float32], row: dict[str, Any], features: tuple[str, ...], known: set[str], number: int
) -> list[dict[str, Any]]:
    problems = [
        _problem(f"row {number} has the unknown field {name!r}", row=number, field=name)
        for name in sorted(row.keys() - known)
    ]
    for place, name in enumerate(features):
        if name not in row:
            fix = "null where it is not known"
            problems.append(_problem(f"row {number} lacks {name!r}; {fix}", row=number, field=name))
            continue
        value = row[name]
        if value is None:
            target[place] = np.nan
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and _fits(value):
            target[place] = value
        else:
            shown = repr(value)[:40]
            problems.append(_problem(f"row {number}: {name!r} is {shown}, not a number", row=number, field=name))
    return problems


def _fits(value: float) -> bool:
    """Whether float32 can hold it."""
    try:
        return math.isfinite(value) and abs(value) <= float(np.finfo(np.float32).max)
    except OverflowError:  # an integer beyond every float
        return False


def _problem(message: str, **where: Any) -> dict[str, Any]:
    return {"message": message, **where}
