"""One rank in this process, without files or frames."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.boosters import RankBooster, SegmentTrees, engine_for
from trainer.contract import Objective, TrainingSpec
from trainer.data import Rows, column, matrix, no_rows


def rows_of(table: pa.Table, spec: TrainingSpec, split: str) -> Rows:
    """Rows of ``split``, as a rank holds them."""
    some = table.filter(pc.equal(table["split"], split)).sort_by([("shard", "ascending"), ("row_key", "ascending")])
    values = matrix(some.select(list(spec.features)))
    features = pa.table({name: values[:, number] for number, name in enumerate(spec.features)})
    return Rows(features=features, target=column(some, spec.target))


@dataclass
class OneRank:
    """A booster and its rows."""

    spec: TrainingSpec
    table: pa.Table

    def __post_init__(self) -> None:
        self.train, self.validation = (rows_of(self.table, self.spec, split) for split in ("train", "validation"))
        if self.spec.validation_split is None:
            self.validation = no_rows(self.spec.features)
        classifier = self.spec.objective in (Objective.BINARY_LOGISTIC, Objective.MULTICLASS)
        self.base_score = 0.5 if classifier else float(self.train.target.mean())
        self.booster = self.built()

    def built(self) -> RankBooster:
        """A new booster, ready to train."""
        booster = engine_for(self.spec.engine).rank_booster(self.spec)
        booster.build(self.train, self.validation, self.base_score)
        return booster

    def segment(self, number: int, rounds: int = 5, **changes: Any) -> SegmentTrees:
        """Train segment ``number``."""
        return self.booster.train_segment(rounds=rounds, seed=100 + number, on_round=changes.get("on_round", _ignore))

    def restore(self, documents: list[bytes]) -> None:
        """Go on with a new booster after the segments in ``documents``."""
        self.booster = self.built()
        self.booster.restore(engine_for(self.spec.engine).assemble(documents), self.train, self.validation)

    def predict(self, model: bytes, rows: Rows) -> np.ndarray[Any, Any]:
        """What ``model`` predicts for ``rows``."""
        return engine_for(self.spec.engine).predict(model, matrix(rows.features))


def _ignore(_done: int) -> bool:
    """Progress that nobody follows."""
    return True
