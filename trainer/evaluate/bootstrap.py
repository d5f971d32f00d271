"""Intervals by a bootstrap over groups.

Rows of one race share their weather, their track and their drivers' form, so whole races are drawn, not rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trainer.contract import Interval

Doubles = npt.NDArray[np.float64]

DRAWS = 2000
LEVEL = 0.95


def paired(own: Doubles, other: Doubles, groups: Sequence[str], seed: int = 0) -> tuple[float, Interval]:
    """The mean difference of two models' losses of the same rows, and its interval when whole groups are drawn."""
    drawn = Drawn(groups, seed)
    return float((own - other).mean()), drawn.mean(own - other)


class Drawn:
    """Groups, drawn with replacement :data:`DRAWS` times, for intervals of whatever follows from sums over rows."""

    def __init__(self, groups: Sequence[str], seed: int = 0, draws: int = DRAWS) -> None:
        self.names, self._index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
        count = len(self.names)
        chosen = np.random.default_rng(seed).integers(0, count, size=(draws, count))
        self._times = np.stack([np.bincount(line, minlength=count) for line in chosen]).astype(np.float64)
        self.rows = self.by_group(np.ones(len(self._index)))

    def by_group(self, values: Doubles) -> Doubles:
        """Sums of ``values`` [rows] over each group."""
        return np.bincount(self._index, weights=values, minlength=len(self.names)).astype(np.float64)

    def sums(self, values: Doubles) -> Doubles:
        """Sums of ``values`` [rows] over the rows of each draw."""
        return self._times @ self.by_group(values)

    def means(self, values: Doubles) -> Doubles:
        """Means of ``values`` [rows] over the rows of each draw."""
        return self.sums(values) / (self._times @ self.rows)

    def mean(self, values: Doubles) -> Interval:
        """The interval of the mean of ``values`` [rows]."""
        return between(self.means(values))


def between(values: Doubles) -> Interval:
    """Where the middle :data:`LEVEL` of ``values`` lies."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(low=float(low), high=float(high), level=LEVEL)
