"""A worker's life: wait for the chief, run a Dask nanny and worker, and end when the chief or the kubelet says so.

Dask's own memory limit is off: it would watch the Dask worker, while the memory is the rank process's. The pod's limit
holds for all of them, and :class:`trainer.memory.MemoryGuard` watches the rank process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dask
from distributed import Nanny, Security
from distributed.core import Status

from trainer import termination
from trainer.contract import FailureReason, Outcome, TrainingFailure
from trainer.dask_settings import QUIET
from trainer.ending import conclude, failure_outcome
from trainer.health import HealthServer
from trainer.logs import EventLog, adopt_logger
from trainer.metrics.export import Exported
from trainer.metrics.of_pod import WorkerMetrics
from trainer.metrics.usage import Usage
from trainer.tls import security
from trainer.worker import remote
from trainer.worker.settings import WorkerSettings

CONNECT_EVERY_S = 0.5
#: A nanny that has not started its worker and registered it by then is given up.
START_S = 60.0
CLOSE_S = 10.0
#: A Dask worker that died is back within this time, or never.
RESTART_S = 20.0
#: After SIGTERM: of the 25 s that a Spot machine gives, a few remain to close.
LEAVE_S = 18.0
#: A chief that does not acknowledge for so long is gone: a machine may vanish without closing its connections.
SILENCE_S = 30.0


@dataclass(kw_only=True)
class WorkerService:
    """One worker process. ``run`` never raises: it returns how it ended."""

    settings: WorkerSettings
    log: EventLog
    metrics: Exported = field(default_factory=Exported)
    state: str = "waiting for the chief"
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> Outcome:
        """Serve until the chief is done or gone, or SIGTERM."""
        adopt_logger("distributed")
        job_id = self.settings.pod.job_id or "worker"
        loop = asyncio.get_running_loop()
        for number in termination.SIGNALS:
            loop.add_signal_handler(number, self._told_to_stop)
        if termination.was_told():
            self._told_to_stop()
        pod, index = self.settings.pod, self.settings.index
        usage = Usage(limit_bytes=pod.memory_limit_bytes)
        WorkerMetrics(registry=self.metrics.registry, job_id=job_id, index=index, usage=usage)
        try:
            async with HealthServer(
                host=pod.pod_ip, port=pod.health_port, state=self.health, metrics=self.metrics.page
            ):
                await self._serve()
        except Exception as e:  # noqa: BLE001 - whatever it is, the pod ends with a reason
            return failure_outcome(job_id, e, self.log)
        return Outcome(job_id=job_id, message="the chief says that the job is done")

    def _told_to_stop(self) -> None:
        if not self._stopped.is_set():
            termination.end_within(self._last_word)
        self._stopped.set()

    def _last_word(self) -> int:
        """The exit code of a worker whose time is up."""
        message = f"worker {self.settings.name} was told to stop and still waited {termination.END_S:.0f} s later"
        outcome = Outcome(job_id=self.settings.pod.job_id, reason=FailureReason.PREEMPTED, message=message)
        return conclude(outcome, self.log, self.settings.pod.termination_log)

    def health(self) -> Mapping[str, Any]:
        """What ``/health`` answers."""
        return {"state": self.state, "job_id": self.settings.pod.job_id, "worker": self.settings.index}

    async def _serve(self) -> None:
        """Serve the chief, and the next one when it is lost: this pod has its shards already, another one has not."""
        certificates = security(self.settings.pod.tls_dir)
        patience_s = self.settings.chief_wait_s
        while True:
            nanny = await self._connected(certificates, patience_s)
            self.state = "serving"
            chief = self.settings.chief_host
            self.log.info("connected", f"worker {self.settings.name} serves the chief", chief=chief)
            try:
                await self._until_ended(nanny)
            finally:
                await _close(nanny)
            code = remote.noted_exit_code()
            if code == os.EX_OK:
                return
            if code is not None or not self.settings.reconnect_s:
                raise TrainingFailure(FailureReason.CHIEF_LOST, "the connection to the chief ended before the job did")
            self.state = "looking for the chief that was lost"
            self.log.warning("disconnected", f"worker {self.settings.name} lost the chief", chief=chief)
            patience_s = self.settings.reconnect_s

    async def _connected(self, certificates: Security, within_s: float) -> Nanny:
        deadline = asyncio.get_running_loop().time() + within_s
        remote.begin_again()
        while True:
            await self._unless_stopped(self._chief_is_up(certificates, deadline))
            with dask.config.set({**QUIET, "distributed.comm.timeouts.tcp": f"{SILENCE_S}s"}):
                try:
                    return await self._unless_stopped(self._started(certificates))
                except OSError as e:  # the chief went between the check and the start, or the old name is still taken
                    self.log.warning("waiting", f"the chief did not take this worker yet: {e}")
                    await asyncio.sleep(CONNECT_EVERY_S)

    async def _until_ended(self, nanny: Nanny) -> None:
        """Serve until the chief ends the job or is gone.

        Raises:
            TrainingFailure: ``Preempted`` on SIGTERM. The chief is told, and has ``LEAVE_S`` to end the segment.
        """
        ended = asyncio.create_task(_ended(nanny))
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return ended.result()
            self.state = "leaving"
            self.log.warning("leaving", f"worker {self.settings.name} was told to stop")
            nanny.log_event(remote.LEAVING_TOPIC, {"index": self.settings.index, "within_s": LEAVE_S})
            await asyncio.wait({ended}, timeout=LEAVE_S)
            raise TrainingFailure(FailureReason.PREEMPTED, f"worker {self.settings.name} was told to stop")
        finally:
            stopped.cancel()
            ended.cancel()

    async def _chief_is_up(self, certificates: Security, deadline: float) -> None:
        """Wait until the chief accepts this worker's certificate.

        Raises:
            TrainingFailure: ``ChiefLost`` when it never comes up, ``ConfigInvalid`` when it refuses the certificate.
        """
        host, port = self.settings.chief_host, self.settings.chief_port
        context = certificates.get_connection_args("worker")["ssl_context"]
        error: BaseException | None = None
        waited_s = max(0.0, deadline - asyncio.get_running_loop().time())
        while asyncio.get_running_loop().time() < deadline:
            try:
                # Not wait_for(): on Python 3.11 it swallows a cancellation that comes with the refusal.
                async with asyncio.timeout(SILENCE_S):
                    _, writer = await asyncio.open_connection(host, port, ssl=context)
            except ssl.SSLError as e:
                message = f"the chief at {host}:{port} is not one of this job: {e}; check TRAINING_TLS_DIR"
                raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e
            except OSError as e:
                error = e
                await asyncio.sleep(CONNECT_EVERY_S)
            else:
                writer.close()
                return
        message = f"no chief at {host}:{port} within {waited_s:.0f} s ({error})"
        raise TrainingFailure(FailureReason.CHIEF_LOST, message)

    async def _started(self, certificates: Security) -> Nanny:
        settings = self.settings
        nanny = Nanny(
            f"tls://{settings.chief_host}:{settings.chief_port}",
            name=settings.name,
            nthreads=1,
            host=settings.pod.pod_ip,
            memory_limit=0,
            security=certificates,
            worker_class=remote.QuietWorker,
            local_directory=str(settings.pod.cache_dir / "dask"),
            death_timeout=START_S,
            dashboard=False,
            plugins=[remote.RankPlugin()],
        )
        try:
            return await nanny
        except (TimeoutError, ValueError, RuntimeError) as e:
            await _close(nanny)
            raise OSError(str(e)) from e

    async def _unless_stopped(self, work: Any) -> Any:
        """The result of ``work``, or ``Preempted`` when SIGTERM comes first."""
        task = asyncio.ensure_future(work)
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise TrainingFailure(FailureReason.PREEMPTED, f"worker {self.settings.name} was told to stop")
        finally:
            stopped.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=CLOSE_S)


async def _ended(nanny: Nanny) -> None:
    """Wait until the chief ends the job or the nanny has closed.

    A nanny that could not bring a dead Dask worker back stays on without one; it is given up after ``RESTART_S``.
    """
    loop = asyncio.get_running_loop()
    endings = {asyncio.create_task(nanny.finished()), asyncio.create_task(remote.told_to_end())}
    alive_at = loop.time()
    try:
        while not any(e.done() for e in endings) and loop.time() - alive_at < RESTART_S:
            if nanny.process is not None and nanny.process.status is Status.running:
                alive_at = loop.time()
            await asyncio.wait(endings, timeout=CONNECT_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for ending in endings:
            ending.cancel()


async def _close(nanny: Nanny) -> None:
    """Close the nanny and its worker, which takes the rank process along; never waits longer than its deadline."""
    with contextlib.suppress(Exception):  # the process is about to end, and its children with it
        await asyncio.wait_for(nanny.close(timeout=CLOSE_S / 2), CLOSE_S)
