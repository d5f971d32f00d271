"""The driver: takes a job from its first worker to its result, one step of :mod:`trainer.chief.states` at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer.boosters import engine_for
from trainer.checkpoints import Checkpoints, Found
from trainer.chief import formation, plan
from trainer.chief.formation import Loaded
from trainer.chief.group import Command, Group, GroupLostError, Reply
from trainer.chief.progress import Progress
from trainer.chief.record import Record
from trainer.chief.recovery import Recovery, Stopped
from trainer.chief.states import TERMINAL, Event, State, after
from trainer.contract import FailureReason, GroupChange, Manifest, TrainingFailure, TrainingSpec
from trainer.logs import EventLog
from trainer.storage import in_thread

TRAIN_S = 24 * 3600.0
#: Ranks that report no round for as long as this many took hang.
STALL_ROUNDS = 20
#: How long a job that ends otherwise waits for a checkpoint that is being written.
LAST_COMMIT_S = 15.0
#: Of the time that is left after SIGTERM, a segment may take this share to end by itself; the rest is for its commit.
SHARE_TO_THE_BOUNDARY = 0.6


@dataclass(kw_only=True)
class Driver:
    """Drives one job. ``run`` is called once; ``stop`` may be called at any time.

    A lost group's rounds since the last boundary are trained again by the next one; everything until then, committed
    or on its way, stays in ``record`` and ``documents``.
    """

    spec: TrainingSpec
    group: Group
    checkpoints: Checkpoints
    log: EventLog
    epoch: int
    found: Found
    clock: Callable[[], float] = time.monotonic
    state: State = State.WAITING
    stopping: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    usage: dict[str, float] = field(default_factory=dict)
    _loaded: Loaded | None = None
    _tracker: Any = None
    _importing: asyncio.Task[Any] | None = None
    _commit: asyncio.Task[None] | None = None
    _cutting: asyncio.Task[None] | None = None
    _cut_for: str = ""
    _failure: TrainingFailure | None = None

    def __post_init__(self) -> None:
        self.record = Record.start(self.spec, self.epoch, self.found)
        self.progress = Progress(spec=self.spec, log=self.log, clock=self.clock)
        self.recovery = Recovery(
            spec=self.spec, group=self.group, log=self.log, stopping=lambda: self.stopping, clock=self.clock
        )
        self.group.tell_leaving(self._worker_leaves)
        self.committed: Manifest | None = self.found.manifest
        # The model's rounds so far, one document a segment; the chief appends to it what rank 0 hands over.
        self.documents: list[bytes] = list(self.found.documents)

    async def run(self) -> Manifest:
        """Train until nothing is left to train and everything is committed; returns the last manifest.

        Raises:
            TrainingFailure: why the job cannot go on. Rank processes are dead by then; what was committed stays.
        """
        steps: Mapping[State, Callable[[], Awaitable[Event]]] = {
            State.WAITING: self._gather,
            State.LOADING: self._load,
            State.FORMING: self._form,
            State.TRAINING: self._train_segment,
            State.REGROUPING: self.recovery.regroup,
            State.PAUSED: self.recovery.pause,
            State.FINISHING: self._finish,
        }
        try:
            while self.state not in TERMINAL:
                self.state = after(self.state, await self._step(steps[self.state]))
        finally:
            await self._release()
        failure = self._failure or self.recovery.failure
        if failure is not None:
            raise TrainingFailure(failure.reason, self._with_progress(str(failure)))
        if self.committed is None:  # pragma: no cover - FINISHING commits
            raise TrainingFailure(FailureReason.BUG, "the job finished without a checkpoint")
        return self.committed

    def stop(self, within_s: float) -> bool:
        """Stop with a checkpoint of what is trained by then. Whether that can be done within ``within_s`` seconds.

        A segment that ends soon is finished, any other one is cut short at the next round.
        """
        self.stopping = True
        return self.state in (State.FINISHING, State.DONE) or self._end_segment_within(
            within_s, "the chief was told to stop"
        )

    @property
    def segment_left_s(self) -> float:
        """Seconds until the running segment should end; infinite when no round was measured yet."""
        return self.progress.segment_left_s() if self.state is State.TRAINING else float("inf")

    async def _step(self, step: Callable[[], Awaitable[Event]]) -> Event:
        began, name = self.clock(), self.state.name.lower()
        try:
            # What only remains to be written is written.
            if self.stopping and self.state is not State.FINISHING:
                raise Stopped
            return await step()
        except GroupLostError as e:
            self._cut_for = ""
            return self.recovery.lost(e, self.record.round, self.progress.round)
        except Stopped:
            message = "the chief was told to stop"
            try:
                await self._settle_commit()
            except TrainingFailure as e:
                message += f", and what it had trained last could not be committed ({e})"
            self._failure = TrainingFailure(FailureReason.PREEMPTED, message)
            return Event.STOPPED
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self.clock() - began

    async def _gather(self) -> Event:
        count, timeout_s = self.spec.num_workers, self.spec.limits.worker_start_s
        self.log.info("waiting", f"waiting for {count} workers", workers=0, of=count)
        # Importing the library takes a second; it is needed at the first boundary, and now there is time.
        self._importing = asyncio.create_task(asyncio.to_thread(_import_engine, self.spec))
        self.recovery.members = await self.group.gather(count, timeout_s)
        return Event.COMPLETE

    async def _load(self) -> Event:
        self._loaded = await formation.load(self.spec, self.group, self.recovery.members)
        if self.record.base_score is None:
            self.record.base_score = plan.base_score(self.spec.objective, self._loaded.target_sums)
        return Event.LOADED

    async def _form(self) -> Event:
        loaded = self._formed_from()
        if self._importing is not None:
            await self._importing
        self._close_tracker()
        self._tracker = await formation.connect(self.spec, self.group, loaded)
        began = self.clock()
        await formation.build(self.spec, self.group, loaded, self.record.pinned_base_score)
        build_s = round(self.clock() - began, 3)
        if self.record.round:
            model = await asyncio.to_thread(engine_for(self.spec.engine).assemble, self.documents)
            await formation.restore(self.spec, self.group, loaded, self.record.round, model)
        change = self._enter(loaded)
        self.progress.formed()
        ranks = [{"rank": m.rank, "worker": m.worker_index, "rows": m.rows} for m in self.record.group]
        at = self.record.round
        said = {"ranks": ranks, "round": at, "change": change.value, "build_s": build_s}
        self.log.info("group", f"{len(ranks)} ranks are ready at round {at}", **said)
        if change is GroupChange.RESUMED:
            fields = {"round": self.record.round, "epoch": self.epoch, "passed_over": list(self.found.passed_over)}
            self.log.info("resumed", f"resumed at round {self.record.round}, epoch {self.epoch}", **fields)
        return Event.FORMED

    def _enter(self, loaded: Loaded) -> GroupChange:
        """Write into the lineage who trains from here on, and why."""
        group, before = loaded.group(self.spec.train_split), self.record.group
        loss = self.recovery.formed()
        if loss is None:
            passed_over = self.found.passed_over
            detail = f"passed over: {'; '.join(passed_over)}" if passed_over else ""
            change = GroupChange.RESUMED if self.record.round else GroupChange.STARTED
        else:
            grown = len(group) > len(before) and not loss.lost
            change, detail = (GroupChange.REJOINED if grown else GroupChange.REGROUPED), loss.detail
        self.record.enter(group, change, detail)
        return change

    async def _train_segment(self) -> Event:
        loaded, record = self._formed_from(), self.record
        cells = self.spec.snapshot.total(self.spec.train_split) * len(self.spec.features)
        left = self.spec.rounds - record.round
        rounds = plan.segment_rounds(self.spec.checkpoint, left, self.progress.round_s, cells, self.recovery.losses)
        seed = plan.segment_seed(self.spec.seed, record.segment)
        self.progress.begin(record.round, rounds)
        arguments = {"segment": record.segment, "first_round": record.round, "rounds": rounds, "seed": seed}
        command = Command(
            name="train", arguments=dict.fromkeys(loaded.workers, arguments), timeout_s=TRAIN_S, stall_s=self._stall_s
        )
        replies = await self._call_while_committing(command)
        began = self.clock()
        ranks = [replies[worker] for worker in loaded.workers]
        plan.require_agreement([r.fields["digest"] for r in ranks])
        trained = int(ranks[0].fields["rounds"])
        for used in (rank.fields["usage"] for rank in ranks):
            self.usage = {name: max(value, self.usage.get(name, 0.0)) for name, value in used.items()}
        self.progress.end(trained)
        record.add_segment([r.fields for r in ranks], ranks[0].payload, rounds=trained, seed=seed)
        if trained < rounds:
            self.log.warning("cut-short", f"round {record.round}: cut short, {self._cut_for}", round=record.round)
            record.enter(record.group, GroupChange.CUT_SHORT, self._cut_for)
        self.documents.append(ranks[0].payload)
        manifest = record.manifest(finished=plan.is_finished(self.spec, record.round, record.early_stopping))
        self.progress.boundary(record, self.clock() - began)
        # One commit at a time, in order: a manifest names the segments of all before it.
        await self._settle_commit()
        self._commit = asyncio.create_task(self._upload(manifest, ranks[0].payload))
        if manifest.finished:
            return Event.TRAINED
        return self.recovery.at_boundary(record.round)

    async def _call_while_committing(self, command: Command) -> dict[int, Reply]:
        """The ranks' replies; a commit that fails in the meantime ends the command, instead of a segment later."""
        call = asyncio.create_task(self.group.call(command, self.progress.report))
        try:
            if self._commit is not None:
                await asyncio.wait({call, self._commit}, return_when=asyncio.FIRST_COMPLETED)
                if self._commit.done():
                    await self._settle_commit()
            return await call
        finally:
            if not call.done():
                call.cancel()
                await asyncio.wait([call])

    async def _upload(self, manifest: Manifest, document: bytes) -> None:
        began = self.clock()
        await in_thread(self.checkpoints.commit, manifest, document, uri=self.spec.output.checkpoints)
        self.committed = manifest
        took_s = self.clock() - began
        self.seconds["commit"] = self.seconds.get("commit", 0.0) + took_s
        fields = {"round": manifest.round, "epoch": self.epoch, "seconds": took_s, "bytes": len(document)}
        self.log.info("committed", f"round {manifest.round} is committed", **fields)

    async def _finish(self) -> Event:
        await self._settle_commit()
        return Event.WRITTEN

    async def _settle_commit(self) -> None:
        commit, self._commit = self._commit, None
        if commit is not None:
            await commit

    def _worker_leaves(self, worker: int, within_s: float) -> None:
        """A worker was told to stop, and can stay for ``within_s`` seconds."""
        self.log.warning("leaving", f"worker {worker} was told to stop within {within_s:.0f} s", worker=worker)
        serves = worker in {m.worker for m in self.recovery.members}
        if not serves or not self._end_segment_within(within_s, f"worker {worker} was told to stop"):
            self.recovery.dismiss([worker])

    def _end_segment_within(self, within_s: float, why: str) -> bool:
        """See to it that the running segment ends in time; False when that cannot be done."""
        if self.state is not State.TRAINING:
            return False
        allowed_s = within_s * SHARE_TO_THE_BOUNDARY
        if self.segment_left_s <= allowed_s:
            return True
        # The round that is being trained, and perhaps one more.
        if 2 * (self.progress.measured_s or 0.0) > allowed_s:
            return False
        if self._cutting is None or self._cutting.done():
            self._cutting = asyncio.create_task(self._cut(why))
        return True

    async def _cut(self, why: str) -> None:
        self._cut_for = why
        if await self.group.cut(self.record.segment) is None:
            self.log.warning("cut-short", f"the segment could not be cut short: {why}")

    async def _release(self) -> None:
        """Leave nothing running: no rank process unless the job is done, no tracker, no upload that nobody awaits."""
        if self.state is not State.DONE:
            await self.group.dissolve()
        self._close_tracker()
        commit, self._commit = self._commit, None
        if commit is not None:
            await asyncio.wait([commit], timeout=LAST_COMMIT_S)

    def _stall_s(self) -> float:
        """For how long ranks may be without a finished round before they hang: heartbeats come from beside them."""
        limits, round_s = self.spec.limits, self.progress.measured_s
        return limits.partition_s if round_s is None else max(limits.heartbeat_s, STALL_ROUNDS * round_s)

    def _close_tracker(self) -> None:
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None

    def _formed_from(self) -> Loaded:
        if self._loaded is None:  # pragma: no cover - the table of states does not allow it
            raise TrainingFailure(FailureReason.BUG, f"{self.state.value} without loaded shards")
        return self._loaded

    def _with_progress(self, message: str) -> str:
        return f"{message}; the last committed round is {self.committed.round if self.committed else 0}"


def _import_engine(spec: TrainingSpec) -> None:
    engine = engine_for(spec.engine)
    if spec.num_workers > 1:
        engine.load_for_chief()
