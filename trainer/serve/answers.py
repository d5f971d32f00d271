"""What a model predicts, as a client gets it: a number, or a class with the probabilities of all."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.boosters.engine import Doubles
from trainer.serve.rows import MOST_PROBLEMS, InvalidRequestError, problem

Label = str | int


def answers(found: Doubles, labels: tuple[Label, ...]) -> list[Any]:
    """One JSON value a row.

    Args:
        found: a value a row, the probability of the second of two ``labels``, or [rows, labels] probabilities.
        labels: the classes in the order of their numbers; empty for a regression.

    Raises:
        InvalidRequestError: naming the rows for which the model's sum is beyond every number.
    """
    _refuse_overflow(found)
    if not labels:
        return found.tolist()
    probabilities = np.stack([1.0 - found, found], axis=1) if found.ndim == 1 else found
    best = probabilities.argmax(axis=1).tolist()
    listed = probabilities.tolist()
    return [{"class": labels[number], "probabilities": row} for number, row in zip(best, listed, strict=True)]


def _refuse_overflow(found: Doubles) -> None:
    finite = np.isfinite(found)
    if finite.all():
        return
    rows = np.unique(np.argwhere(~finite)[:, 0])[:MOST_PROBLEMS].tolist()
    said = "its values are so large that what the model predicts is no number"
    raise InvalidRequestError([problem(f"row {number}: {said}", row=number) for number in rows])
