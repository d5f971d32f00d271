"""UBJSON as XGBoost writes it: what is decoded and encoded again is the same bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.boosters.ubjson import Numbers, Real, Value, decode, encode

scalars = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=8),
    st.booleans(),
    st.none(),
    st.builds(Real, st.just("d"), st.binary(min_size=4, max_size=4)),
    st.builds(lambda data: Numbers("l", data[: len(data) // 4 * 4]), st.binary(max_size=16)),
)
values = st.recursive(
    scalars, lambda v: st.one_of(st.lists(v, max_size=4), st.dictionaries(st.text(max_size=5), v, max_size=4))
)


@given(values)
def test_what_is_encoded_can_be_decoded(value: Value) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    ("number", "marker"),
    [(0, b"i"), (126, b"i"), (127, b"I"), (-127, b"i"), (-128, b"I"), (32767, b"l"), (2**31 - 1, b"L"), (2**40, b"L")],
)
def test_integers_take_the_size_that_xgboost_gives_them(number: int, marker: bytes) -> None:
    assert encode(number)[:1] == marker
    assert decode(encode(number)) == number


@given(st.data())
def test_the_beginning_of_a_document_is_refused(data: st.DataObject) -> None:
    whole = encode({"a": [1, "two", Numbers("d", struct.pack(">3f", 1, 2, 3))], "b": {"c": None}})
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError, match="is no UBJSON"):
        decode(whole[:cut])


@pytest.mark.parametrize("data", [b"{}x", b"Q", b"[$q#L" + b"\0" * 8, b"[i\x01]", b'{"json": 1}'])
def test_what_xgboost_does_not_write_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="is no UBJSON"):
        decode(data)
