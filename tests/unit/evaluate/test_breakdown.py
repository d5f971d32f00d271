"""The error by whatever the catalogue names: each row is in one group, and groups have an order that people expect."""

import numpy as np
import pyarrow as pa
import pytest

from trainer.contract import Breakdown, ContractError
from trainer.evaluate.breakdown import MOST_GROUPS, broken_down, ranges

NAMES = ("age", "soft", "hard")
FEATURES = np.array([[1, 1, 0], [5, 1, 0], [12, 0, 1], [40, 0, 0]], np.float32)
VALUES = np.array([10.0, 20.0, 30.0, 40.0])


def found(by: Breakdown, **columns: list[str | None]) -> list[tuple[str, int, float]]:
    rows = pa.table({"unused": [0, 0, 0, 0], **columns})
    return [(one.group, one.rows, one.value) for one in broken_down(by, rows, FEATURES, NAMES, VALUES)]


def test_groups_are_the_values_of_a_column() -> None:
    got = found(Breakdown(name="circuit", column="circuit_id"), by_circuit=["spa", "monza", None, "spa"])
    assert got == [("monza", 1, 20.0), ("spa", 2, 25.0), ("unknown", 1, 30.0)]


def test_numbers_are_put_into_ranges_in_their_order() -> None:
    by = Breakdown(name="stint length", column="tire_age_laps", bands=(1, 6, 11, 31))
    got = found(by, by_stint_length=["40.0", "1", "12", "5"])
    assert got == [("1-5", 2, 30.0), ("11-30", 1, 30.0), ("31+", 1, 10.0)]
    assert found(by, by_stint_length=["0", "6", None, "?"]) == [
        ("below 1", 1, 10.0), ("6-10", 1, 20.0), ("unknown", 2, 35.0),
    ]  # fmt: skip


def test_groups_are_the_features_that_are_1() -> None:
    got = found(Breakdown(name="compound", flags={"SOFT": "soft", "HARD": "hard"}))
    assert got == [("HARD", 1, 30.0), ("SOFT", 2, 15.0), ("unknown", 1, 40.0)]


def test_a_document_has_a_bound() -> None:
    count = MOST_GROUPS + 50
    rows = pa.table({"by_driver": [f"d{n:03}" for n in range(count)] + ["d000"]})
    got = broken_down(
        Breakdown(name="driver", column="driver_id"),
        rows,
        np.zeros((count + 1, 3), np.float32),
        NAMES,
        np.ones(count + 1),
    )
    assert (got[0].group, got[0].rows) == ("d000", 2)
    assert (got[-1].group, got[-1].rows, len(got)) == ("others", 50, MOST_GROUPS + 1)
    assert sum(one.rows for one in got) == count + 1


@pytest.mark.parametrize(
    ("bands", "names"),
    [
        ((1, 6, 11), ["1-5", "6-10", "11+"]),
        ((0, 1, 3), ["0", "1-2", "3+"]),
        ((0.5, 1, 2), ["0.5 to 1", "1 to 2", "2+"]),
    ],
)
def test_ranges_read_as_people_write_them(bands: tuple[float, ...], names: list[str]) -> None:
    assert ranges(bands) == names


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "Circuit", "column": "a"}, "name: is 'Circuit'"),
        ({"name": "a`b", "column": "a"}, "name: is"),
        ({"name": "a"}, "column: or flags: give one of them"),
        ({"name": "a", "column": "a", "flags": {"x": "soft"}}, "give one of them"),
        ({"name": "a", "column": "a; DROP"}, "a column's name"),
        ({"name": "a", "flags": {"x": "soft"}, "bands": (1.0,)}, "bands: go with a column"),
        ({"name": "a", "column": "a", "bands": (2.0, 1.0)}, "in ascending order"),
    ],
)
def test_a_wrong_breakdown_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        Breakdown(**fields)  # type: ignore[arg-type]
