"""Ranks as real processes on loopback, led by the few steps that the chief takes."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.fakes.snapshots import FakeStorageRead
from trainer.boosters import engine_for
from trainer.contract import Engine, Metric, TrainingSpec
from trainer.data import ShardReader, TableReader, deal_shards
from trainer.rank.process import RankProcess

WAIT_S = 60.0


def fill_cache(folder: Path, spec: TrainingSpec, table: pa.Table) -> None:
    """Put every shard where ranks look first."""
    reader = TableReader(table=spec.snapshot.table, client=FakeStorageRead(table))
    shards = ShardReader(
        snapshot=spec.snapshot, features=spec.features, target=spec.target, folder=folder, reader=reader
    )
    for split in spec.snapshot.rows:
        shards.rows(split, range(spec.snapshot.logical_shards))


class Ranks:
    """A group of rank processes; index is rank."""

    def __init__(self, spec: TrainingSpec, world: int, cache: Path) -> None:
        self.spec, self.world, self.tracker = spec, world, None
        self.processes = [RankProcess(cache_dir=cache) for _ in range(world)]
        self._pool = ThreadPoolExecutor(world)

    def __enter__(self) -> "Ranks":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
        if self.tracker is not None:
            self.tracker.close()
        self._pool.shutdown()

    def all(self, command: str, arguments: Callable[[int], Mapping[str, Any]], payload: bytes = b"") -> list[Any]:
        def one(rank: int) -> Any:
            return self.processes[rank].call(command, arguments(rank), payload, timeout_s=WAIT_S)

        return [f.result() for f in [self._pool.submit(one, rank) for rank in range(self.world)]]

    def form(
        self, shards: Sequence[Mapping[str, Sequence[int]]] | None = None, base_score: float | None = None
    ) -> list[dict[str, Any]]:
        """Load, connect and build; returns what ``load`` replied."""
        spec, world = self.spec, self.world
        dealt = shards or list(deal_shards(spec.snapshot.rows, range(world)).values())
        loaded = [reply for reply, _ in self.all("load", lambda r: {"spec": spec.to_json(), "shards": dealt[r]})]
        tracker, machines = None, None
        if world > 1 and spec.engine is Engine.XGBOOST:
            self.tracker = engine_for(spec.engine).start_tracker("127.0.0.1", world, WAIT_S)
            tracker = dict(self.tracker.arguments)
        elif world > 1:
            found = self.all("address", lambda _: {"host": "127.0.0.1"})
            machines = [f"{reply['host']}:{reply['port']}" for reply, _ in found]
        join = {"world": world, "tracker": tracker, "machines": machines, "timeout_s": WAIT_S}
        assert [reply["rank"] for reply, _ in self.all("join", lambda r: {"rank": r, **join})] == list(range(world))
        base = self._base_score(loaded) if base_score is None else base_score
        self.all("build", lambda _: {"base_score": base})
        return loaded

    def _base_score(self, loaded: list[dict[str, Any]]) -> float:
        if self.spec.metric in (Metric.LOG_LOSS, Metric.MULTI_LOG_LOSS):
            return 0.5
        sums = [sum(reply[name] for reply in loaded) for name in ("target_sum", "target_weight")]
        return float(sums[0] / sums[1])

    def segments(self, first: int, count: int, rounds: int) -> tuple[list[bytes], list[Any]]:
        """Train segments ``first`` and on; returns documents and the sums of validation losses by round."""
        documents, sums = [], []
        for segment in range(first, first + count):
            arguments = {"segment": segment, "first_round": segment * rounds, "rounds": rounds, "seed": 100 + segment}
            replies = self.all("train", lambda _, a=arguments: a)
            assert len({reply["digest"] for reply, _ in replies}) == 1
            assert [bool(document) for _, document in replies] == [True] + [False] * (self.world - 1)
            documents.append(replies[0][1])
            sums.append(np.sum([reply["validation"] for reply, _ in replies], axis=0))
            self.last_train = np.sum([reply["train"] for reply, _ in replies], axis=0)
        return documents, list(np.concatenate(sums))
