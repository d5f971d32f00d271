"""Kubernetes quantities such as ``500m`` and ``2Gi`` as numbers."""

from __future__ import annotations

import re

FACTORS = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def quantity(text: str | float) -> float:
    """The number that a quantity stands for.

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"([0-9.]+)(m|k|M|G|T|Ki|Mi|Gi|Ti)?", str(text))
    if found is None:
        raise ValueError(f"{text!r} is not a quantity")
    return float(found[1]) * FACTORS[found[2] or ""]
