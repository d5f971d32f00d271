"""Kubernetes quantities, read and written."""

from decimal import Decimal
from typing import Any

import pytest

from trainer.contract.quantities import amount, shown


@pytest.mark.parametrize(
    ("quantity", "number"),
    [
        ("500m", Decimal("0.5")),
        ("3", Decimal(3)),
        (3, Decimal(3)),
        ("1.5", Decimal("1.5")),
        ("24Gi", Decimal(24 * 2**30)),
        ("2k", Decimal(2000)),
        ("1e3", Decimal(1000)),
        ("1E", Decimal(10**18)),
        ("1Ei", Decimal(2**60)),
        ("100n", Decimal("1e-7")),
    ],
)
def test_a_quantity_is_a_number(quantity: Any, number: Decimal) -> None:
    assert amount(quantity) == number


@pytest.mark.parametrize("quantity", ["", "Gi", "3 Gi", "1ki", "a lot"])
def test_what_is_no_quantity_is_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        amount(quantity)


@pytest.mark.parametrize("text", ["500m", "24Gi", "17", "0", "1500m", "3Mi", "1Ti"])
def test_a_number_is_shown_as_people_write_it(text: str) -> None:
    assert shown(amount(text)) == text
