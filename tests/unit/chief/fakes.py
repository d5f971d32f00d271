"""A group whose ranks "train" by arithmetic, and an engine whose booster is a list: fast, exact, and easy to break."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from trainer.chief.group import Command, Leaving, Member, Progress, Reply, ignore_progress
from trainer.contract import (
    CheckpointPolicy,
    Engine,
    Metric,
    Objective,
    OutputUris,
    SnapshotRef,
    TrainingSpec,
)


def spec(folder: Path, **changes: Any) -> TrainingSpec:
    """A job of 3 workers and 10 rounds in segments of 4."""
    values: dict[str, Any] = {
        "job_id": "job",
        "model_type": "m",
        "engine": Engine.LIGHTGBM,
        "objective": Objective.SQUARED_ERROR,
        "metric": Metric.RMSE,
        "features": ("a",),
        "rounds": 10,
        "snapshot": SnapshotRef(table="p.d.t", logical_shards=4, rows={"train": (4, 3, 2, 1), "validation": (1,) * 4}),
        "output": OutputUris(checkpoints=(folder / "c").as_uri(), artifacts=(folder / "a").as_uri()),
        "num_workers": 3,
        "checkpoint": CheckpointPolicy(segment_rounds=4),
    }
    return TrainingSpec(**{**values, **changes})


class FakeEngine:
    """A booster is a JSON list with one entry a round."""

    suffix = ".json"

    def load_for_chief(self) -> None:
        """There is no library."""

    def assemble(self, documents: list[bytes], rounds: int | None = None) -> bytes:
        trees = [tree for document in documents for tree in json.loads(document)]
        return json.dumps(trees[:rounds]).encode()


def use_fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("driver", "formation", "record", "result"):
        monkeypatch.setattr(f"trainer.chief.{module}.engine_for", lambda _engine: FakeEngine())


@dataclass
class FakeGroup:
    """Implements ``Group``. ``break_at`` maps (command, how often it came before) to what happens instead."""

    workers: int = 3
    host: str = "chief"
    break_at: Mapping[tuple[str, int], Callable[[], Any]] = field(default_factory=dict)
    value_of: Callable[[int], float] = lambda boosting_round: 100.0 / boosting_round
    calls: list[Command] = field(default_factory=list)
    restored: list[bytes] = field(default_factory=list)
    dissolved: int = 0
    closed: bool | None = None
    wrong_digest_of: int | None = None
    gone: set[int] = field(default_factory=set)
    quiet: set[int] = field(default_factory=set)
    enlisted: list[list[int]] = field(default_factory=list)
    dismissed: list[int] = field(default_factory=list)
    leave: Leaving | None = None
    can_cut: int | None = None
    cut_at: int | None = None

    async def gather(self, count: int, timeout_s: float) -> list[Member]:
        # In no order: the driver must not depend on it.
        return [Member(worker=index, host=f"host{index}") for index in reversed(range(count))]

    def tell_leaving(self, tell: Leaving) -> None:
        self.leave = tell

    def live(self) -> frozenset[int]:
        return frozenset(range(self.workers)) - self.gone - self.quiet

    def silent(self) -> frozenset[int]:
        return frozenset(self.quiet)

    async def enlist(self, workers: Collection[int]) -> list[Member]:
        self.enlisted.append(sorted(workers))
        return [Member(worker=index, host=f"host{index}") for index in workers]

    async def cut(self, segment: int) -> int | None:
        self.cut_at = self.can_cut
        return self.can_cut

    async def dismiss(self, workers: Collection[int]) -> None:
        self.dismissed += sorted(workers)

    async def call(self, command: Command, on_progress: Progress = ignore_progress) -> dict[int, Reply]:
        before = sum(c.name == command.name for c in self.calls)
        self.calls.append(command)
        self._ranks = list(command.arguments)
        await asyncio.sleep(0)
        if (command.name, before) in self.break_at:
            happens = self.break_at[command.name, before]()
            if asyncio.iscoroutine(happens):
                await happens
        return {worker: self._reply(worker, command, on_progress) for worker in command.arguments}

    async def dissolve(self) -> None:
        self.dissolved += 1

    async def close(self, *, finished: bool) -> None:
        self.closed = finished

    def named(self, name: str) -> list[Command]:
        return [c for c in self.calls if c.name == name]

    def _reply(self, worker: int, command: Command, on_progress: Progress) -> Reply:
        arguments = command.arguments[worker]
        if command.name == "load":
            counts = json.loads(arguments["spec"])["snapshot"]["rows"]
            rows = {split: sum(counts[split][s] for s in shards) for split, shards in arguments["shards"].items()}
            return Reply(
                fields={"rows": rows, "target_sum": 2.0 * rows["train"], "target_weight": float(rows["train"])}
            )
        if command.name == "address":
            return Reply(fields={"host": arguments["host"], "port": 4000 + worker})
        if command.name == "restore":
            self.restored.append(command.payload)
        if command.name == "train":
            return self._trained(worker, arguments, on_progress)
        return Reply(fields={})

    def _trained(self, worker: int, arguments: Mapping[str, Any], on_progress: Progress) -> Reply:
        first, rounds = arguments["first_round"], min(arguments["rounds"], self.cut_at or arguments["rounds"])
        numbers = range(first + 1, first + rounds + 1)
        document = json.dumps([[number, arguments["seed"]] for number in numbers]).encode()
        digest = hashlib.sha256(document).hexdigest() if worker != self.wrong_digest_of else "other"
        for number in numbers:
            on_progress(worker, {"round": number})
        # Squared error: sum over this worker's rows (one unit of weight each).
        validation = [[self.value_of(number) ** 2, 1.0] for number in numbers]
        fields = {"rounds": rounds, "digest": digest, "seconds": 0.1, "validation": validation, "train": [4.0, 1.0]}
        fields["usage"] = {"peak_memory_bytes": 2.0**30 * (1 + worker), "cpus": 1.5}
        return Reply(fields=fields, payload=document if worker == min(self._ranks) else b"")
