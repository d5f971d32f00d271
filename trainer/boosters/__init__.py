"""The boosting libraries behind one protocol; a library is imported only when its engine does what needs it."""

from __future__ import annotations

import functools

from trainer.boosters.engine import BoosterEngine, Group, RankBooster, SegmentTrees, Tracker
from trainer.contract import Engine


@functools.cache
def engine_for(engine: Engine) -> BoosterEngine:
    """The library of ``engine``."""
    if engine is Engine.XGBOOST:
        from trainer.boosters.xgb import XgboostEngine

        return XgboostEngine()
    from trainer.boosters.lgbm import LightgbmEngine

    return LightgbmEngine()


__all__ = ["BoosterEngine", "Group", "RankBooster", "SegmentTrees", "Tracker", "engine_for"]
