"""Predictions as clients get them."""

from typing import Any

import numpy as np
import pytest

from trainer.serve.answers import Label, answers
from trainer.serve.rows import InvalidRequestError


@pytest.mark.parametrize(
    ("found", "labels", "expected"),
    [
        ([1.5, -2.0], (), [1.5, -2.0]),
        ([0.25, 0.5], (0, 1), [
            {"class": 0, "probabilities": [0.75, 0.25]},
            {"class": 0, "probabilities": [0.5, 0.5]},
        ]),
        ([0.75], ("calm", "aggressive"), [{"class": "aggressive", "probabilities": [0.25, 0.75]}]),
        ([[0.5, 0.25, 0.25], [0.0, 0.25, 0.75]], (0, 1, 2), [
            {"class": 0, "probabilities": [0.5, 0.25, 0.25]},
            {"class": 2, "probabilities": [0.0, 0.25, 0.75]},
        ]),
        ([[0.0, 0.25, 0.75]], ("HARD", "MEDIUM", "SOFT"), [{"class": "SOFT", "probabilities": [0.0, 0.25, 0.75]}]),
    ],
)  # fmt: skip
def test_a_number_or_a_class_with_the_probabilities_of_all(
    found: Any, labels: tuple[Label, ...], expected: list[Any]
) -> None:
    assert answers(np.array(found), labels) == expected


@pytest.mark.parametrize(
    "found", [[1.0, np.inf, 2.0, np.nan], [[1.0, 0.0], [np.nan, np.inf], [0.0, 1.0], [0.0, np.nan]]]
)
def test_what_is_no_number_is_refused_by_row(found: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        answers(np.array(found), () if np.ndim(found) == 1 else (0, 1))
    assert [problem["row"] for problem in caught.value.problems] == [1, 3]
