"""Curves: the mean prediction over one feature, everything else as it was, with an interval over groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trainer.boosters.engine import Doubles, Floats, Predictor
from trainer.contract import Curve, CurveSpec, Interval
from trainer.evaluate.bootstrap import LEVEL, Drawn
from trainer.evaluate.score import Integers

#: Rows that are looked at where all would take minutes, spread evenly over them.
CURVE_ROWS = 1000
#: A curve is drawn through at most so many points.
POINTS = 15


def spread(rows: int, most: int) -> Integers:
    """The numbers of at most ``most`` rows, evenly over all of them."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def points(low: float, high: float) -> Doubles:
    """At most :data:`POINTS` values from ``low`` to ``high``; whole numbers where there is room between whole ends."""
    values = np.linspace(low, high, POINTS)
    whole = float(low).is_integer() and float(high).is_integer() and high - low >= POINTS - 1
    return np.unique(values.round()) if whole else values


def drawn(
    predict: Predictor, wanted: CurveSpec, groups: Sequence[str], features: Floats, names: Sequence[str]
) -> tuple[Curve, ...]:
    """A curve for each group of ``wanted`` that has rows.

    Args:
        predict: of the model.
        wanted: which feature, from where to where.
        groups: each row's group, such as its race: whole ones are drawn for the interval.
        features: [rows, features].
        names: of the features.
    """
    place, values = list(names).index(wanted.feature), points(wanted.low, wanted.high)
    races = np.asarray(groups, dtype=str)
    found = []
    for name, flag in wanted.groups.items() or [("all", "")]:
        mine = np.flatnonzero(features[:, list(names).index(flag)] == 1) if flag else np.arange(len(features))
        if not len(mine):
            continue
        mine = mine[spread(len(mine), CURVE_ROWS)]
        changed = features[mine].copy()
        predictions = np.empty((len(values), len(mine)))
        for number, value in enumerate(values):
            changed[:, place] = value
            predictions[number] = predict(changed)
        found.append(_curve(wanted, name, values, predictions - predictions[:1], races[mine]))
    return tuple(found)


def _curve(wanted: CurveSpec, name: str, values: Doubles, rises: Doubles, groups: npt.NDArray[np.str_]) -> Curve:
    """From [values, rows] differences to the first value; whole groups are drawn, as for every interval here."""
    chosen = Drawn(groups.tolist())
    means = np.stack([chosen.means(line) for line in rises])
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    width = float(values[-1] - values[0])
    return Curve(
        name=name,
        rows=rises.shape[1],
        at=tuple(float(v) for v in values),
        mean=tuple(float(v) for v in rises.mean(axis=1)),
        low=tuple(float(v) for v in low),
        high=tuple(float(v) for v in high),
        slope=float(rises[-1].mean()) / width,
        slope_interval=Interval(low=float(low[-1]) / width, high=float(high[-1]) / width, level=LEVEL),
        feature=wanted.feature,
        unit=wanted.unit,
        rises=wanted.rises,
    )
