"""Form a group: deal and load shards, connect the ranks, build the matrices. Entered anew after every loss."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.boosters import engine_for
from trainer.chief.group import Command, Group, Member
from trainer.contract import Engine, FailureReason, GroupMember, TrainingFailure, TrainingSpec
from trainer.data import deal_shards

#: Loading, building and restoring depend on rows: so long for any, and so long more a cell (a row's feature) of a
#: worker, ten times what is measured (docs/scale.md). Their limits only end what hangs.
ANY_ROWS_S = 300.0
CELL_S = 1e-6
LONGEST_S = 3600.0
#: Ranks connect to each other, or to the tracker, within this time.
JOIN_S = 120.0
ADDRESS_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """What the members hold: their shards by split, and the sums that the base score follows from."""

    members: tuple[Member, ...]
    shards: Mapping[int, Mapping[str, Sequence[int]]]
    rows: Mapping[int, Mapping[str, int]]
    target_sums: tuple[tuple[float, float], ...]

    @property
    def workers(self) -> list[int]:
        """Worker indices in rank order."""
        return [m.worker for m in self.members]

    def group(self, train_split: str) -> tuple[GroupMember, ...]:
        """The group as a manifest records it: which rank trains on which shards."""
        return tuple(
            GroupMember(
                rank=rank,
                worker_index=worker,
                shards=tuple(self.shards[worker].get(train_split, ())),
                rows=self.rows[worker].get(train_split, 0),
            )
            for rank, worker in enumerate(self.workers)
        )


def splits_of(spec: TrainingSpec) -> list[str]:
    """The splits that workers load."""
    names = [spec.train_split] if spec.validation_split is None else [spec.train_split, spec.validation_split]
    return [name for name in names if spec.snapshot.total(name)]


async def load(spec: TrainingSpec, group: Group, members: Sequence[Member]) -> Loaded:
    """Deal the snapshot's shards to ``members`` and let them load; rank order is worker index order.

    Raises:
        TrainingFailure: ``DataInvalid`` when the rows are not those that the spec counted.
        GroupLostError: a worker was lost.
    """
    ordered = tuple(sorted(members, key=lambda m: m.worker))
    rows = {split: spec.snapshot.rows[split] for split in splits_of(spec)}
    shards = deal_shards(rows, [m.worker for m in ordered])
    text = spec.to_json()
    arguments = {m.worker: {"spec": text, "shards": encode_shards(shards[m.worker])} for m in ordered}
    replies = await group.call(Command(name="load", arguments=arguments, timeout_s=limit_s(spec, len(ordered))))
    loaded = {worker: {k: int(v) for k, v in r.fields["rows"].items()} for worker, r in replies.items()}
    _check_rows(spec, loaded)
    sums = tuple(_target_sum(replies[m.worker].fields) for m in ordered)
    return Loaded(members=ordered, shards=shards, rows=loaded, target_sums=sums)


async def connect(spec: TrainingSpec, group: Group, loaded: Loaded) -> Any:
    """Let the ranks find each other: a tracker for XGBoost, a list of machines for LightGBM, nothing for one rank.

    Returns what must be kept alive as long as the group is (the tracker), or None.
    """
    world = len(loaded.members)
    tracker, address, machines = None, None, None
    if world > 1 and spec.engine is Engine.XGBOOST:
        tracker = await asyncio.to_thread(engine_for(spec.engine).start_tracker, group.host, world, JOIN_S)
        address = dict(tracker.arguments)
    elif world > 1:
        machines = await _addresses(group, loaded)
    # How long ranks wait for each other later on, too: a slow one is waited for as long as it may take to build.
    patience_s = limit_s(spec, world)
    arguments = {
        m.worker: {"rank": rank, "world": world, "tracker": address, "machines": machines, "timeout_s": patience_s}
        for rank, m in enumerate(loaded.members)
    }
    await group.call(Command(name="join", arguments=arguments, timeout_s=JOIN_S + ADDRESS_S))
    return tracker


async def build(spec: TrainingSpec, group: Group, loaded: Loaded, base_score: float) -> None:
    """Build the training matrices; a collective operation for XGBoost."""
    arguments = {worker: {"base_score": base_score} for worker in loaded.workers}
    await group.call(Command(name="build", arguments=arguments, timeout_s=limit_s(spec, len(loaded.members))))


async def restore(spec: TrainingSpec, group: Group, loaded: Loaded, boosting_round: int, model: bytes) -> None:
    """Give every rank the booster of ``boosting_round`` rounds, to predict its rows' raw scores."""
    arguments = {worker: {"round": boosting_round} for worker in loaded.workers}
    limit = limit_s(spec, len(loaded.members), boosting_round)
    await group.call(Command(name="restore", arguments=arguments, timeout_s=limit, payload=model))


def limit_s(spec: TrainingSpec, workers: int, trees: int = 0) -> float:
    """How long a command that goes through all rows of one of ``workers`` workers may take."""
    cells = sum(spec.snapshot.total(split) for split in splits_of(spec)) * max(len(spec.features), trees) / workers
    return min(ANY_ROWS_S + CELL_S * cells, LONGEST_S)


def encode_shards(shards: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Shards by split as plain JSON."""
    return {split: list(numbers) for split, numbers in shards.items()}


async def _addresses(group: Group, loaded: Loaded) -> list[str]:
    arguments = {m.worker: {"host": m.host} for m in loaded.members}
    replies = await group.call(Command(name="address", arguments=arguments, timeout_s=ADDRESS_S))
    return [f"{replies[w].fields['host']}:{replies[w].fields['port']}" for w in loaded.workers]


def _target_sum(fields: Mapping[str, Any]) -> tuple[float, float]:
    return float(fields["target_sum"]), float(fields["target_weight"])


def _check_rows(spec: TrainingSpec, loaded: Mapping[int, Mapping[str, int]]) -> None:
    for split in splits_of(spec):
        expected, got = spec.snapshot.total(split), sum(rows.get(split, 0) for rows in loaded.values())
        if expected != got:
            message = f"{spec.snapshot.table} has {got} rows of split {split!r}, the spec counted {expected}"
            raise TrainingFailure(FailureReason.DATA_INVALID, message)
