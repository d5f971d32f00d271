"""What a report shows beside the metrics: effects of features, curves, predicted against actual."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trainer.boosters.engine import BoosterEngine, Floats
from trainer.contract import Curve, CurveSpec, Details, Grid, Interval, Objective
from trainer.evaluate.score import DRAWS, LEVEL, Doubles, Integers, Scored

#: Rows that are looked at where all would take minutes, spread evenly over them.
EFFECT_ROWS, CURVE_ROWS = 300, 1000
GRID_CELLS = 24
#: A curve is drawn through at most so many points.
POINTS = 15


def details(
    engine: BoosterEngine,
    document: bytes,
    rows: Scored,
    features: Floats,
    names: Sequence[str],
    *,
    objective: Objective,
    curve: CurveSpec | None,
    threads: int = 1,
) -> Details:
    """Of a model's ``document`` on ``rows``, whose ``features`` [rows, features] are called ``names``."""
    some = spread(len(features), EFFECT_ROWS)
    sizes = np.abs(engine.contributions(document, features[some], threads)).mean(axis=0)
    regression = objective not in (Objective.BINARY_LOGISTIC, Objective.MULTICLASS)
    curves: tuple[Curve, ...] = ()
    if curve is not None and regression:
        curves = tuple(_curves(engine, document, rows, features, names, curve, threads))
    return Details(
        effects={name: float(size) for name, size in zip(names, sizes, strict=True)},
        effect_rows=len(some),
        curves=curves,
        curve_feature=curve.feature if curve is not None else "",
        curve_unit=curve.unit if curve is not None else "",
        curve_rises=curve is not None and curve.rises,
        grid=grid(rows.target, rows.predictions) if regression else None,
    )


def spread(rows: int, most: int) -> Integers:
    """The numbers of at most ``most`` rows, evenly over all of them."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def grid(target: Doubles, predictions: Doubles) -> Grid:
    """Where the rows lie, predicted against actual. The edges span all but the outermost hundredths of the targets."""
    low, high = (float(v) for v in np.quantile(target, [0.01, 0.99]))
    edges = np.linspace(low, high if high > low else low + 1.0, GRID_CELLS + 1)
    across, up = (np.clip(values, low, edges[-1]) for values in (target, predictions))
    counts = np.histogram2d(across, up, bins=[edges, edges])[0]
    cells = tuple(tuple(int(n) for n in line) for line in counts)
    return Grid(edges=tuple(float(edge) for edge in edges), counts=cells)


def _curves(
    engine: BoosterEngine,
    document: bytes,
    rows: Scored,
    features: Floats,
    names: Sequence[str],
    curve: CurveSpec,
    threads: int,
) -> list[Curve]:
    predict = engine.predictor(document, threads)
    place = list(names).index(curve.feature)
    values = np.unique(np.linspace(curve.low, curve.high, POINTS).round())
    groups = np.asarray(rows.groups, dtype=str)
    found = []
    for name, flag in curve.groups.items() or [("all", "")]:
        mine = np.flatnonzero(features[:, list(names).index(flag)] == 1) if flag else np.arange(len(features))
        if not len(mine):
            continue
        mine = mine[spread(len(mine), CURVE_ROWS)]
        changed = features[mine].copy()
        predictions = np.empty((len(values), len(mine)))
        for number, value in enumerate(values):
            changed[:, place] = value
            predictions[number] = predict(changed)
        found.append(_curve(name, values, predictions - predictions[:1], groups[mine]))
    return found


def _curve(name: str, values: Doubles, rises: Doubles, groups: npt.NDArray[np.str_]) -> Curve:
    """From [values, rows] differences to the first value; whole groups are drawn, as for every interval here."""
    _, index = np.unique(groups, return_inverse=True)
    counts = np.bincount(index).astype(np.float64)
    sums = np.stack([np.bincount(index, weights=line) for line in rises])
    drawn = np.random.default_rng(0).integers(0, len(counts), size=(DRAWS, len(counts)))
    means = sums[:, drawn].sum(axis=2) / counts[drawn].sum(axis=1)
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
    )
