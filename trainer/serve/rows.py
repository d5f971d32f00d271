"""Rows of a request, checked against the model's features: what is wrong is named by row and field."""

from __future__ import annotations

import heapq
import json
import math
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

#: Of one request.
MOST_ROWS = 10_000
MOST_PROBLEMS = 10
#: Of what a client sent, in a message.
MOST_SHOWN = 40
#: What float32 can hold.
LARGEST = float(np.finfo(np.float32).max)

_short = reprlib.Repr()
_short.maxstring = _short.maxlong = _short.maxother = MOST_SHOWN
_short.maxlevel = _short.maxdict = _short.maxlist = 2


class InvalidRequestError(ValueError):
    """The request cannot be answered. ``problems`` name row and field; ``status`` is the HTTP status."""

    def __init__(self, problems: Sequence[dict[str, Any]], status: int = 422) -> None:
        super().__init__("; ".join(str(problem["message"]) for problem in problems))
        self.problems = list(problems)
        self.status = status


class _Repeated(dict[str, Any]):
    """An object that has ``field`` more than once: JSON leaves open which value counts, so none does."""

    field = ""


def read_instances(body: bytes) -> list[Any]:
    """The member ``instances`` of a request.

    Raises:
        InvalidRequestError: 400 for what is no JSON, 422 for another shape.
    """
    document = _read(body)
    if not isinstance(document, dict):
        raise InvalidRequestError([problem('the body is not an object such as {"instances": [{...}]}')])
    if isinstance(document, _Repeated):
        raise InvalidRequestError([_about("the body has the field {} more than once", document.field)])
    unknown = sorted(set(document) - {"instances", "parameters"})
    if unknown:
        message = "the body has the unknown field {}; known are 'instances' and 'parameters'"
        raise InvalidRequestError([_about(message, unknown[0])])
    instances = document.get("instances")
    if not isinstance(instances, list) or not 1 <= len(instances) <= MOST_ROWS:
        message = f"'instances' must be a list of 1 to {MOST_ROWS} rows"
        raise InvalidRequestError([problem(message, field="instances")])
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
            problems.append(problem(f"row {number} is not an object of features", row=number))
        elif isinstance(row, _Repeated):
            problems.append(_about(f"row {number} has the field {{}} more than once", row.field, row=number))
        else:
            problems += _fill(values[number], row, features, known, number)
        if len(problems) >= MOST_PROBLEMS:
            break
    if problems:
        raise InvalidRequestError(problems[:MOST_PROBLEMS])
    return values


def problem(message: str, **where: Any) -> dict[str, Any]:
    """A problem as clients see it; ``where`` is ``row``, ``field``."""
    return {"message": message, **where}


def _read(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), object_pairs_hook=_object)
    except UnicodeDecodeError as e:
        message = f"the body is not JSON: it is not UTF-8 from byte {e.start} on"
    except json.JSONDecodeError as e:
        message = f"the body is not JSON: {e}"
    except RecursionError:
        message = "the body is not JSON that can be read: it is nested too deeply"
    except ValueError:  # Python refuses to read integers of more than 4300 digits
        message = "the body is not JSON that can be read: it has an integer of thousands of digits"
    raise InvalidRequestError([problem(message)], 400)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    repeated, seen = _Repeated(made), set()
    for name, _ in pairs:
        if name in seen:
            repeated.field = name
            break
        seen.add(name)
    return repeated


def _fill(
    target: npt.NDArray[np.float32], row: dict[str, Any], features: tuple[str, ...], known: set[str], number: int
) -> list[dict[str, Any]]:
    problems = [
        _about(f"row {number} has the unknown field {{}}", name, row=number)
        for name in heapq.nsmallest(MOST_PROBLEMS, row.keys() - known)
    ]
    for place, name in enumerate(features):
        if name not in row:
            fix = "null where it is not known"
            problems.append(problem(f"row {number} lacks {name!r}; {fix}", row=number, field=name))
            continue
        value = row[name]
        if value is None:
            target[place] = np.nan
        elif _fits(value):
            target[place] = value
        else:
            message = f"row {number}: {name!r} is {_short.repr(value)}, not a number of at most {LARGEST:.7g} in size"
            problems.append(problem(message, row=number, field=name))
    return problems


def _fits(value: Any) -> bool:
    """Whether it is a number that float32 can hold."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value) and abs(value) <= LARGEST
    except OverflowError:  # an integer beyond every float
        return False


def _about(message: str, field: str, **where: Any) -> dict[str, Any]:
    """A problem with a field that the client made up, which may be of any length."""
    return problem(message.format(_short.repr(field)), **where, field=field[: 2 * MOST_SHOWN])
