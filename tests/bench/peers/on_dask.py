"""A local Dask cluster with the rows on its workers, one part each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import dask
import dask.array as da
from distributed import Client, LocalCluster, wait

from tests.bench.peers.case import Case, cpu, read


@contextlib.contextmanager
def spread(case: Case) -> Iterator[tuple[Any, Any, Any]]:
    """The client, features and target; the rows are in the workers' memory before the block begins."""
    cluster = LocalCluster(
        n_workers=case.workers, threads_per_worker=case.threads, dashboard_address=None, local_directory=case.folder
    )
    with cluster, Client(cluster) as client:
        parts = [dask.delayed(read)(case.rows, i, case.workers) for i in range(case.workers)]
        sizes = [len(read(case.rows, i, case.workers)[1]) for i in range(case.workers)]
        width = read(case.rows, 0, 1000)[0].shape[1]
        both = list(zip(parts, sizes, strict=True))
        features = da.concatenate([da.from_delayed(p[0], (n, width), "f4") for p, n in both]).persist()
        target = da.concatenate([da.from_delayed(p[1], (n,), "f8") for p, n in both]).persist()
        wait([features, target])
        yield client, features, target


def cpu_of(client: Any) -> float:
    """CPU seconds that all workers have used so far."""
    return float(sum(client.run(cpu).values()))
