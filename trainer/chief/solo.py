"""A group of one: the chief trains itself, in one rank process, without Dask, scheduler, tracker or certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from trainer.chief.group import Command, Leaving, Member, Progress, Reply, ignore_progress
from trainer.chief.settle import Pulse, settle
from trainer.worker.holder import RankHolder

WORKER = 0


@dataclass
class SoloGroup:
    """Implements :class:`trainer.chief.group.Group` with a child process."""

    holder: RankHolder
    host: str = "127.0.0.1"
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="rank"))

    async def gather(self, count: int, timeout_s: float) -> list[Member]:  # noqa: ARG002 - nobody to wait for
        """The chief itself is the worker."""
        return [Member(worker=WORKER, host=self.host)]

    def tell_leaving(self, tell: Leaving) -> None:
        """Nobody leaves but the chief itself."""

    def live(self) -> frozenset[int]:
        """A rank process that died can be started again at once."""
        return frozenset({WORKER})

    def silent(self) -> frozenset[int]:
        """Nobody is far away."""
        return frozenset()

    async def enlist(self, workers: Collection[int]) -> list[Member]:  # noqa: ARG002 - there is one
        """End what is left of the rank process before."""
        await asyncio.to_thread(self.holder.kill)
        return [Member(worker=WORKER, host=self.host)]

    async def cut(self, segment: int) -> int | None:
        """End the segment with the round that is being trained."""
        rounds = await asyncio.to_thread(self.holder.hold, segment)
        if rounds is not None:
            self.holder.until(segment, rounds)
        return rounds

    async def dismiss(self, workers: Collection[int]) -> None:
        """Nobody leaves but the chief itself."""

    async def call(self, command: Command, on_progress: Progress = ignore_progress) -> dict[int, Reply]:
        """Give ``command`` to the rank process; it reads and writes in a thread, so that ``/health`` still answers."""
        pulse = Pulse(on_progress)
        loop = asyncio.get_running_loop()

        def report(progress: Mapping[str, Any]) -> None:
            loop.call_soon_threadsafe(pulse, WORKER, progress)

        async def reply() -> Reply:
            arguments = command.arguments[WORKER]
            call = self.holder.call
            fields, payload = await loop.run_in_executor(
                self._thread, call, command.name, arguments, command.payload, command.timeout_s, report
            )
            return Reply(fields=fields, payload=payload)

        return await settle({WORKER: asyncio.create_task(reply())}, command, pulse, self.dissolve)

    async def dissolve(self) -> None:
        """Kill the rank process."""
        self.holder.kill()

    async def close(self, *, finished: bool) -> None:  # noqa: ARG002 - there is nobody to tell
        """End the rank process and its thread."""
        self.holder.close()
        self._thread.shutdown(wait=False, cancel_futures=True)
