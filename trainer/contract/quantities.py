"""Kubernetes quantities such as ``500m`` and ``24Gi`` as numbers, and back. Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

QUANTITY = re.compile(r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))(?P<suffix>[numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+|)")
FACTORS = {
    **{suffix: Decimal(10) ** exponent for suffix, exponent in zip("num", (-9, -6, -3), strict=True)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("", "k", "M", "G", "T", "P", "E"))},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


def amount(quantity: Any) -> Decimal:
    """A Kubernetes quantity such as ``500m``, ``24Gi`` or ``1e3`` as a number.

    Raises:
        ValueError: it is none.
    """
    found = QUANTITY.fullmatch(str(quantity))
    if found is None:
        raise ValueError(f"{quantity!r} is no quantity")
    suffix = found["suffix"]
    if suffix in FACTORS:
        return Decimal(found["number"]) * FACTORS[suffix]
    return Decimal(found["number"] + suffix)


def shown(number: Decimal) -> str:
    """A number as people write quantities: ``500m``, ``24Gi``, ``17``."""
    if number and number % 1:
        return f"{(number * 1000).normalize():f}m"
    for power, suffix in ((4, "Ti"), (3, "Gi"), (2, "Mi")):
        if number >= Decimal(1024) ** power and number % (Decimal(1024) ** (power - 1)) == 0:
            return f"{(number / Decimal(1024) ** power).normalize():f}{suffix}"
    return f"{number.normalize():f}"
