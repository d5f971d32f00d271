"""What is wrong with a request is named by row and field, and nothing that is sent breaks the server."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.serve.rows import MOST_PROBLEMS, InvalidRequestError, matrix, read_instances

FEATURES = ("age", "lap")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.sampled_from(FEATURES), inner),
    max_leaves=8,
)


def test_rows_come_in_the_model_s_order_and_null_is_missing() -> None:
    found = matrix([{"lap": 2, "age": 1.5}, {"age": None, "lap": 7}], FEATURES)
    assert found.dtype == np.float32
    assert found[0].tolist() == [1.5, 2.0]
    assert math.isnan(found[1, 0])


@pytest.mark.parametrize(
    ("row", "field", "said"),
    [
        ({"age": 1}, "lap", "row 1 lacks 'lap'; null where it is not known"),
        ({"age": 1, "lap": "two"}, "lap", "row 1: 'lap' is 'two', not a number"),
        ({"age": True, "lap": 2}, "age", "row 1: 'age' is True, not a number"),
        ({"age": [1], "lap": 2}, "age", "row 1: 'age' is [1], not a number"),
        ({"age": math.nan, "lap": 2}, "age", "row 1: 'age' is nan, not a number"),
        ({"age": 10**400, "lap": 2}, "age", "row 1: 'age' is 1000"),
        ({"age": 1e300, "lap": 2}, "age", "row 1: 'age' is 1e+300"),
        ({"age": 1, "lap": 2, "mood": 3}, "mood", "row 1 has the unknown field 'mood'"),
    ],
)
def test_row_and_field_are_named(row: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        matrix([{"age": 1, "lap": 2}, row], FEATURES)
    (problem,) = caught.value.problems
    assert (problem["row"], problem["field"]) == (1, field)
    assert problem["message"].startswith(said)


def test_a_row_that_is_no_object_is_named() -> None:
    with pytest.raises(InvalidRequestError, match="row 0 is not an object"):
        matrix([[1, 2]], FEATURES)


def test_only_the_first_problems_are_told() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        matrix([{}] * 1000, FEATURES)
    assert len(caught.value.problems) == MOST_PROBLEMS


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "the body is not JSON"),
        (b"{", 400, "the body is not JSON"),
        (b"\xff", 400, "the body is not JSON"),
        (b"[" * 100_000, 400, "the body is not JSON"),
        (b"[]", 422, "the body is not an object"),
        (b"{}", 422, "'instances' must be a list of 1 to"),
        (b'{"instances": []}', 422, "'instances' must be a list of 1 to"),
        (b'{"instances": {}}', 422, "'instances' must be a list of 1 to"),
        (b'{"instances": [{}], "mood": 1}', 422, "the body has the unknown field 'mood'"),
    ],
)
def test_another_body_is_refused(body: bytes, status: int, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said) as caught:
        read_instances(body)
    assert caught.value.status == status


@given(ANYTHING)
def test_whatever_is_sent_is_read_or_refused(value: Any) -> None:
    try:
        found = matrix(read_instances(json.dumps({"instances": value}).encode()), FEATURES)
    except InvalidRequestError as e:
        refused = e
    else:
        assert found.shape[1] == 2
        assert not np.isinf(found).any()
        return
    assert refused.status in (400, 422)
    assert refused.problems
