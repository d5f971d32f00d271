"""Rules are checked wherever they stand: at a field, in a list, in a table, behind an option."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from trainer.contract import ContractError
from trainer.contract.rules import Rule, check_rules

Small = Annotated[int, Rule(most=9)]
Word = Annotated[str, Rule(pattern="[a-z]+", called="a word")]


@dataclass(frozen=True, kw_only=True)
class Things:
    number: Annotated[float, Rule(least=0, most=1)] = 0.5
    free: float = 0.0
    digit: Small | None = None
    words: Annotated[tuple[Word, ...], Rule(filled=True, distinct=True)] = ("a",)
    table: Annotated[Mapping[str, Small], Rule(keys=("x", "y"))] = field(default_factory=dict)
    loose: Mapping[str, float | str] = field(default_factory=dict)


def test_what_keeps_to_them_passes() -> None:
    check_rules(Things())
    check_rules(Things(number=1, digit=9, words=("a", "b"), table={"x": 1}, loose={"z": 1.5, "w": "-"}))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"number": 1.5}, "number: is 1.5; 0 to 1"),
        ({"free": float("nan")}, "free: is nan; a finite number"),
        ({"digit": 10}, "digit: is 10; 9 or less"),
        ({"words": ()}, "words: is empty"),
        ({"words": ("a", "a")}, "words: names a twice"),
        ({"words": ("a", "B")}, "words[1]: is 'B'; a word"),
        ({"table": {"z": 1}}, "table.z: is unknown; one of x, y"),
        ({"table": {"x": 10}}, "table.x: is 10; 9 or less"),
        ({"loose": {"z": float("inf")}}, "loose.z: is inf; a finite number"),
    ],
)
def test_what_does_not_is_named_with_its_place(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ContractError) as caught:
        check_rules(Things(**values))
    assert str(caught.value) == said


def test_bounds_in_words() -> None:
    bounds = [Rule(least=1, most=100_000).bounds, Rule(least=0).bounds, Rule(most=2**31 - 1).bounds, Rule().bounds]
    assert bounds == ["1 to 100000", "0 or more", "2147483647 or less", "any number"]
