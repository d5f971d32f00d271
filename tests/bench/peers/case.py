"""What every peer is given and gives back. Imports nothing of ours, which the peers' environment does not have."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

WORKERS = 2


@dataclass(frozen=True)
class Case:
    """The configuration: ``threads`` of a worker, or of the process where there is only one."""

    rows: str
    params: dict[str, Any]
    rounds: int
    threads: int
    result: str
    folder: str
    workers: int = WORKERS

    @classmethod
    def from_arguments(cls) -> Case:
        """The case in the file that is the only argument."""
        return cls(**json.loads(Path(sys.argv[1]).read_text()))

    def finish(self, build_s: float, train_s: float, cpu_s: float, metric: float, **more: Any) -> None:
        """Write the result."""
        took = {"seconds": build_s + train_s, "build_s": build_s, "train_s": train_s, "cpu_s": cpu_s}
        found = {**took, "rmse": metric, **more}
        Path(self.result).write_text(json.dumps(found))


def read(path: str, part: int = 0, parts: int = 1) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Part ``part`` of ``parts`` of the rows: [rows, features] and target [rows]."""
    with pa.memory_map(path) as source:
        table = pa.ipc.open_file(source).read_all()
        first, last = (table.num_rows * p // parts for p in (part, part + 1))
        some = table.slice(first, last - first)
        target = some["target"].to_numpy()
        names = [name for name in some.column_names if name != "target"]
        features = np.empty((some.num_rows, len(names)), np.float32)
        for number, name in enumerate(names):
            features[:, number] = some[name].to_numpy()
    return features, np.array(target)


def rmse(predicted: npt.NDArray[Any], target: npt.NDArray[Any]) -> float:
    """Root mean squared error."""
    return float(np.sqrt(np.mean((np.asarray(predicted, np.float64) - target) ** 2)))


def cpu() -> float:
    """CPU seconds of this process, all its threads."""
    return time.process_time()


def clock() -> float:
    """Seconds of a clock that only goes forward."""
    return time.monotonic()
