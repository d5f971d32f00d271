"""What a report shows beside the metrics: effects, curves, predicted against actual, calibration, confusion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.boosters.engine import BoosterEngine, Floats
from trainer.contract import CurveSpec, Details, Grid, Objective
from trainer.evaluate import calibration, curves
from trainer.evaluate.score import Doubles, Named, Scored, is_classifier, named

#: Rows that are looked at where all would take minutes, spread evenly over them.
EFFECT_ROWS = 300
GRID_CELLS = 24


def details(
    engine: BoosterEngine,
    document: bytes,
    rows: Scored,
    features: Floats,
    names: Sequence[str],
    *,
    objective: Objective,
    wanted: Sequence[CurveSpec] = (),
    threads: int = 1,
) -> Details:
    """Of a model's ``document`` on ``rows``, whose ``features`` [rows, features] are called ``names``."""
    some = curves.spread(len(features), EFFECT_ROWS)
    sizes = np.abs(engine.contributions(document, features[some], threads)).mean(axis=0)
    effects = {name: float(size) for name, size in zip(names, sizes, strict=True)}
    if is_classifier(objective):
        found = named(rows)
        return Details(
            effects=effects,
            effect_rows=len(some),
            calibration=calibration.of_classifier(found.chances, found.right),
            confusion=confusion(found),
        )
    predict = engine.predictor(document, threads) if wanted else None
    return Details(
        effects=effects,
        effect_rows=len(some),
        curves=tuple(
            curve
            for one in wanted
            if predict is not None
            for curve in curves.drawn(predict, one, rows.groups, features, names)
        ),
        grid=grid(rows.target, rows.predictions),
        calibration=calibration.of_regression(rows.predictions, rows.target),
    )


def confusion(found: Named) -> tuple[tuple[int, ...], ...]:
    """Rows of each true class, in order of the class that was named."""
    classes = found.classes
    counts = np.bincount(found.labels * classes + found.predicted, minlength=classes**2)
    return tuple(tuple(int(n) for n in line) for line in counts.reshape(classes, classes))


def grid(target: Doubles, predictions: Doubles) -> Grid:
    """Where the rows lie, predicted against actual. The edges span all but the outermost hundredths of the targets."""
    low, high = (float(v) for v in np.quantile(target, [0.01, 0.99]))
    edges = np.linspace(low, high if high > low else low + 1.0, GRID_CELLS + 1)
    across, up = (np.clip(values, low, edges[-1]) for values in (target, predictions))
    counts = np.histogram2d(across, up, bins=[edges, edges])[0]
    cells = tuple(tuple(int(n) for n in line) for line in counts)
    return Grid(edges=tuple(float(edge) for edge in edges), counts=cells)
