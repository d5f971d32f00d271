"""The error by circuit, compound, season or whatever else the catalogue names: groups of the same test rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainer.boosters.engine import Doubles, Floats
from trainer.contract import Breakdown, GroupScore

#: Groups that are told apart; smaller ones than the first so many are put together, or a document would have no bound.
MOST_GROUPS = 100
UNKNOWN, OTHERS = "unknown", "others"


def broken_down(
    by: Breakdown, rows: pa.Table, features: Floats, names: Sequence[str], values: Doubles
) -> tuple[GroupScore, ...]:
    """The mean of ``values`` [rows] of each group of ``rows``, whose ``features`` [rows, features] are ``names``.

    Ranges come in their order, other groups by their names.
    """
    labels, order = _labels(by, rows, features, names)
    present, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(present) > MOST_GROUPS:
        small = np.argsort(-counts, kind="stable")[MOST_GROUPS:]
        labels = np.where(np.isin(index, small), OTHERS, labels)
        present, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.bincount(index, weights=values)
    place = {label: number for number, label in enumerate(order)}
    found = [
        GroupScore(group=str(label), rows=int(n), value=float(s / n))
        for label, n, s in zip(present, counts, sums, strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (one.group in (UNKNOWN, OTHERS), place.get(one.group, 0))))


def _labels(
    by: Breakdown, rows: pa.Table, features: Floats, names: Sequence[str]
) -> tuple[npt.NDArray[np.str_], list[str]]:
    """Each row's group, and the groups that have an order of their own."""
    if by.flags:
        labels = np.full(rows.num_rows, UNKNOWN, dtype=object)
        for label, flag in by.flags.items():
            labels[features[:, list(names).index(flag)] == 1] = label
        return labels.astype(str), []
    texts = [UNKNOWN if text is None else str(text) for text in rows[by.snapshot_column].to_pylist()]
    if not by.bands:
        return np.asarray(texts, dtype=str), []
    bands = [f"below {by.bands[0]:g}", *ranges(by.bands)]
    places = np.searchsorted(by.bands, [_number(text) for text in texts], side="right")
    known = np.isfinite([_number(text) for text in texts])
    return np.where(known, np.asarray(bands, dtype=str)[places], UNKNOWN), bands


def ranges(bands: Sequence[float]) -> list[str]:
    """Names of the ranges that begin at ``bands``: ``1-5``, ``6-10``, ``11+``; with fractions ``0.5 to 1``."""
    whole = all(float(low).is_integer() for low in bands)
    named = []
    for low, above in itertools.pairwise(bands):
        if not whole:
            named.append(f"{low:g} to {above:g}")
        else:
            named.append(f"{low:.0f}-{above - 1:.0f}" if above - 1 > low else f"{low:.0f}")
    return [*named, f"{bands[-1]:g}+"]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
