"""A group of Dask workers: the scheduler in this process, mutual TLS 1.3, one pinned task a rank and command.

Dask's own recovery is switched off: a task that trains is never run again or elsewhere, because its peers would be
gone. A lost worker fails its task at once, and the driver decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Scheduler, Security
from distributed.client import Future
from distributed.scheduler import KilledWorker, NoValidWorkerError

from trainer.chief.group import (
    Command,
    GroupLostError,
    Leaving,
    Member,
    Progress,
    Reply,
    ignore_progress,
    naming,
)
from trainer.chief.settle import GONE, Pulse, settle
from trainer.contract import FailureReason, TrainingFailure, TrainingSpec
from trainer.dask_settings import QUIET
from trainer.logs import EventLog, adopt_logger
from trainer.worker import remote

POLL_S = 0.1
#: How long workers may take to kill a rank process or to note how they shall end; a stopped one never answers.
CONTROL_S = 3.0
CLOSE_S = 10.0
LEAVE_S = 3.0

TTL_HEARTBEATS = 10
#: A connection is given up well after the silence on it was noticed: a worker that is cut off is silent, not gone.
TCP_HEARTBEATS = 3
#: Dask spreads ten TCP keep-alive probes over its timeout and refuses one that is too short for that.
LEAST_TCP_S = 15.0


class QuietScheduler(Scheduler):
    """A scheduler without the plain-text HTTP server and dashboard."""

    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Listen nowhere."""


def dask_config(heartbeat_s: float, scratch: Path) -> dict[str, Any]:
    """Dask's configuration for a group whose workers are given up after ``heartbeat_s`` seconds of silence."""
    return {
        **QUIET,
        "temporary-directory": str(scratch),
        "distributed.scheduler.allowed-failures": 0,
        "distributed.scheduler.work-stealing": False,
        # Dask would first try to restart a silent worker through its nanny, which is as silent, for 30 s. So we look at
        # its heartbeats ourselves (``_silent``), and Dask only cleans up much later.
        "distributed.scheduler.worker-ttl": f"{TTL_HEARTBEATS * heartbeat_s}s",
        "distributed.scheduler.no-workers-timeout": f"{heartbeat_s}s",
        "distributed.admin.large-graph-warning-threshold": "1 GiB",  # a resumed booster is an argument
        "distributed.comm.timeouts.tcp": f"{max(TCP_HEARTBEATS * heartbeat_s, LEAST_TCP_S)}s",
    }


@dataclass(kw_only=True)
class DaskGroup:
    """Implements :class:`trainer.chief.group.Group` with Dask workers."""

    scheduler: Scheduler
    client: Client
    host: str
    heartbeat_s: float
    log: EventLog
    engine: str = ""
    _tell_leaving: Leaving | None = None
    _mute: dict[str, float] = field(default_factory=dict)
    _leaving: set[str] = field(default_factory=set)
    _addresses: dict[int, str] = field(default_factory=dict)
    _pulse: Pulse | None = None
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def gather(self, count: int, timeout_s: float) -> list[Member]:
        """Wait until workers 0 to ``count`` - 1 are registered with the scheduler."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        seen: set[int] = set()
        while True:
            present = self._present(count)
            if set(present) != seen:
                seen = set(present)
                text = f"{len(present)} of {count} workers are there"
                self.log.info("waiting", text, workers=len(present), of=count, missing=_missing(present, count))
            if len(present) == count:
                members = await self.enlist(present)
                # One that was lost since it registered, or does not answer, has the rest of the time to come back.
                if len(members) == count:
                    return members
                present = {m.worker: present[m.worker] for m in members}
            if asyncio.get_running_loop().time() >= deadline:
                raise _not_there(present, count, timeout_s)
            await asyncio.sleep(POLL_S)

    def tell_leaving(self, tell: Leaving) -> None:
        """Tell of the notices that come over Dask's topic."""
        self._tell_leaving = tell

    def live(self) -> frozenset[int]:
        """The workers that are registered, send heartbeats and were not told to stop."""
        present = self._present()
        staying = {i for i, a in present.items() if a not in self._leaving and not self._is_mute(a)}
        return frozenset(staying - set(self._silent(present)))

    def silent(self) -> frozenset[int]:
        """The workers that are registered and send no heartbeats."""
        present = self._present()
        return frozenset(self._silent(present)) | {i for i, a in present.items() if self._is_mute(a)}

    async def enlist(self, workers: Collection[int]) -> list[Member]:
        """End what is left of earlier groups, and have what a rank imports ready."""
        present = self._present()
        self._addresses = {index: present[index] for index in sorted(workers) if index in present}
        described = await self._control(remote.enlist, self.engine)
        self._addresses = {index: address for index, address in self._addresses.items() if address in described}
        hosts = {index: described[address]["host"] for index, address in self._addresses.items()}
        return [Member(worker=index, host=host) for index, host in hosts.items()]

    async def cut(self, segment: int) -> int | None:
        """Hold all ranks, then name the furthest round."""
        held = await self._control(remote.hold_rank, segment)
        rounds = [held.get(address) for address in self._addresses.values()]
        agreed = None if None in rounds else max(r for r in rounds if r is not None)
        # Who is held waits: where not all are, nobody may be. Who was late with its answer may be held as well.
        await self._control(remote.until_rank, segment, sys.maxsize if agreed is None else agreed, mute=True)
        return agreed

    async def dismiss(self, workers: Collection[int]) -> None:
        """Tell their nannies, which are waiting for it."""
        # Not those of the group: the next one may be forming already.
        present = self._present()
        leaving = [present[w] for w in workers if w in present]
        await self._control(remote.end, os.EX_TEMPFAIL, nanny=True, addresses=leaving)

    async def call(self, command: Command, on_progress: Progress = ignore_progress) -> dict[int, Reply]:
        """Give ``command`` to the ranks as one pinned Dask task each."""
        gone = [w for w in command.arguments if self._addresses.get(w) not in self.scheduler.workers]
        if gone:
            await self.dissolve()
            message = f"workers {', '.join(map(str, gone))} were gone before {command.name}"
            raise GroupLostError(FailureReason.WORKERS_LOST, message, gone)
        self._pulse = pulse = Pulse(on_progress, lambda: self._silent(self._addresses), self._gone)
        futures = {worker: self._submit(worker, command) for worker in command.arguments}
        tasks = {worker: asyncio.create_task(_reply(future)) for worker, future in futures.items()}

        async def kill() -> None:
            # Cancelled before anything else: Dask must not start a task again against peers that are gone.
            with contextlib.suppress(Exception):  # the scheduler may be closing; the kill counts
                await asyncio.wait_for(self.client.cancel(list(futures.values()), force=True), CONTROL_S)
            await self.dissolve()

        try:
            return await settle(tasks, command, pulse, kill)
        except GroupLostError as e:
            raise naming(e, self.silent() & set(command.arguments)) from e
        finally:
            self._pulse = None

    async def dissolve(self) -> None:
        """Kill every rank process that can still be reached."""
        await self._control(remote.kill_rank)

    async def close(self, *, finished: bool) -> None:
        """Tell the nannies how to end, then close the scheduler, which closes the workers."""
        code = os.EX_OK if finished else os.EX_UNAVAILABLE
        self._addresses = self._present()
        if not finished:
            await self.dissolve()
        told = await self._control(remote.end, code, nanny=True)
        # They leave on their own, which is quicker than being cut off by the scheduler.
        deadline = asyncio.get_running_loop().time() + LEAVE_S
        while set(told) & set(self.scheduler.workers) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)

    def progress(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """A rank's report, as Dask delivers it."""
        _, report = event
        if self._pulse is not None:
            self._pulse(int(report["index"]), report)

    def leaving(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """A worker's notice that it was told to stop, as Dask delivers it."""
        _, notice = event
        index = int(notice["index"])
        address = self._present().get(index)
        if address is not None and address not in self._leaving:
            self._leaving.add(address)
            if self._tell_leaving is not None:
                self._tell_leaving(index, float(notice["within_s"]))

    def _present(self, count: int | None = None) -> dict[int, str]:
        names = {str(w.name): address for address, w in self.scheduler.workers.items()}
        indices = {int(name): address for name, address in names.items() if name.isdigit()}
        return {index: address for index, address in sorted(indices.items()) if count is None or index < count}

    def _gone(self) -> list[int]:
        """The members of the group whose worker is not connected any more."""
        return [index for index, address in self._addresses.items() if address not in self.scheduler.workers]

    def _submit(self, worker: int, command: Command) -> Future:
        return self.client.submit(
            remote.execute,
            worker,
            command.name,
            dict(command.arguments[worker]),
            command.payload,
            command.timeout_s,
            key=f"{command.name}-{next(self._numbers)}-{worker}",
            workers=[self._addresses[worker]],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )

    async def _control(
        self,
        function: Any,
        *arguments: Any,
        nanny: bool = False,
        mute: bool = False,
        addresses: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Run ``function`` at each worker (or its nanny) outside the task queue; the answers of those that gave one.

        Workers that did not answer the time before are asked only where ``mute`` says so.
        """

        async def ask(address: str) -> Any:
            run = self.client.run(function, *arguments, workers=[address], nanny=nanny, on_error="return")
            answer = (await asyncio.wait_for(run, CONTROL_S)).get(address)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        asked = list(self._addresses.values()) if addresses is None else addresses
        # Who did not answer is not waited for again until it is heard of.
        quiet = self._silent(dict(enumerate(asked)))
        asked = [
            a
            for i, a in enumerate(asked)
            if a in self.scheduler.workers and i not in quiet and (mute or not self._is_mute(a))
        ]
        answers = await asyncio.gather(*(ask(a) for a in asked), return_exceptions=True)
        said = {a: answer for a, answer in zip(asked, answers, strict=True) if not isinstance(answer, BaseException)}
        self._mute |= dict.fromkeys(set(asked) - set(said), time.time())
        return said

    def _is_mute(self, address: str) -> bool:
        """Whether a worker did not answer, and has not been heard of since."""
        worker = self.scheduler.workers.get(address)
        return worker is not None and worker.last_seen <= self._mute.get(address, float("-inf"))

    def _silent(self, addresses: Mapping[int, str]) -> dict[int, float]:
        """How long the workers at ``addresses`` have not been heard of, where that is too long."""
        now = time.time()
        seen = {i: self.scheduler.workers[a].last_seen for i, a in addresses.items() if a in self.scheduler.workers}
        return {index: now - at for index, at in seen.items() if now - at > self.heartbeat_s}


@contextlib.asynccontextmanager
async def dask_group(
    *, spec: TrainingSpec, host: str, port: int, security: Security, scratch: Path, log: EventLog
) -> AsyncIterator[DaskGroup]:
    """A scheduler on ``host:port`` and a client of it in this process, closed at the end of the block.

    Raises:
        TrainingFailure: ``ConfigInvalid`` when the port cannot be had.
    """
    adopt_logger("distributed")
    heartbeat_s = spec.limits.heartbeat_s
    with dask.config.set(dask_config(heartbeat_s, scratch)):
        scheduler = QuietScheduler(host=host, port=port, protocol="tls", security=security, dashboard=False)
        try:
            await scheduler
        except OSError as e:
            message = f"the chief cannot listen on {host}:{port} ({e}); set TRAINING_CHIEF_PORT to a free port"
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e
        try:
            client = await Client(scheduler.address, security=security, asynchronous=True, set_as_default=False)
            try:
                group = DaskGroup(
                    scheduler=scheduler,
                    client=client,
                    host=host,
                    heartbeat_s=heartbeat_s,
                    log=log,
                    engine=spec.engine.value,
                )
                client.subscribe_topic(remote.PROGRESS_TOPIC, group.progress)
                client.subscribe_topic(remote.LEAVING_TOPIC, group.leaving)
                yield group
            finally:
                await _closed(client.close(), log)
        finally:
            await _closed(scheduler.close(), log)


async def _closed(closing: Awaitable[Any], log: EventLog) -> None:
    """Wait for ``closing``. That Dask cannot say goodbye to workers that are gone must not hide why the job ended."""
    try:
        await asyncio.wait_for(closing, CLOSE_S)
    except Exception as e:  # noqa: BLE001 - see above
        log.warning("library", f"closing Dask: {type(e).__name__}: {e}")


async def _reply(future: Future) -> Reply:
    try:
        answer = await future
    except (KilledWorker, NoValidWorkerError) as e:
        raise TrainingFailure(FailureReason.WORKERS_LOST, GONE) from e
    except asyncio.CancelledError as e:
        if not future.cancelled():
            raise
        raise TrainingFailure(FailureReason.WORKERS_LOST, "its task was cancelled") from e
    if "reason" in answer:
        raise TrainingFailure(FailureReason(answer["reason"]), answer["message"])
    return Reply(fields=answer["fields"], payload=answer["payload"])


def _missing(present: Mapping[int, str], count: int) -> list[int]:
    return [index for index in range(count) if index not in present]


def _not_there(present: Mapping[int, str], count: int, timeout_s: float) -> TrainingFailure:
    missing = ", ".join(map(str, _missing(present, count)))
    message = f"{len(present)} of {count} workers came within {timeout_s:.0f} s; missing: {missing}"
    # Nobody at all: there was no room for them. Some: those that are missing were lost on the way.
    reason = FailureReason.WORKERS_LOST if present else FailureReason.RESOURCE_EXHAUSTED
    return TrainingFailure(reason, message)
