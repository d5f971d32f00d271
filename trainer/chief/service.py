"""The chief's life: take the run over, train or find it finished, write the result, say how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer import termination
from trainer.checkpoints import Checkpoints, Found, spec_sha256
from trainer.checkpoints.store import require_empty
from trainer.chief.driver import Driver
from trainer.chief.group import Group
from trainer.chief.result import Finished, write_result
from trainer.chief.solo import SoloGroup
from trainer.contract import FailureReason, Manifest, ObjectExistsError, ObjectStore, Outcome, TrainingSpec, layout
from trainer.ending import conclude, failure_outcome
from trainer.environment import PodEnvironment
from trainer.health import HealthServer
from trainer.logs import EventLog
from trainer.metrics.export import Exported
from trainer.metrics.of_pod import JobMetrics, WorkerMetrics
from trainer.metrics.usage import Usage
from trainer.storage import in_thread, open_store
from trainer.worker.holder import RankHolder

#: After SIGTERM what is trained is committed within this time; a pod has 30 s in all.
GRACE_S = 15.0
#: Writing the outcome next to the checkpoints must not keep a failed job from ending.
OUTCOME_S = 10.0


@dataclass(kw_only=True)
class Chief:
    """One job of one chief process. ``run`` never raises: it returns how the job ended."""

    spec: TrainingSpec
    pod: PodEnvironment
    log: EventLog
    metrics: Exported = field(default_factory=Exported)
    driver: Driver | None = None
    phase: str = "starting"
    last: Manifest | None = None
    stop_asked: bool = False
    began: float = field(default_factory=time.monotonic)
    final: Outcome | None = None
    _job: asyncio.Task[Outcome] | None = None
    _outcomes: ObjectStore | None = None
    _job_metrics: JobMetrics | None = None

    async def run(self) -> Outcome:
        """Do the job and return its outcome, which is also written next to the checkpoints and told in metrics."""
        self._measure()
        outcome = await self._run()
        if self._job_metrics is not None:
            self._job_metrics.ended(outcome)
        return outcome

    def _measure(self) -> None:
        registry = self.metrics.registry
        self._job_metrics = JobMetrics(registry=registry, spec=self.spec)
        self.log.observers.append(self._job_metrics.event)
        if self.spec.num_workers == 1:
            usage = Usage(limit_bytes=self.pod.memory_limit_bytes)
            WorkerMetrics(registry=registry, job_id=self.spec.job_id, index=0, usage=usage)

    async def _run(self) -> Outcome:
        loop = asyncio.get_running_loop()
        for number in termination.SIGNALS:
            loop.add_signal_handler(number, self._told_to_stop)
        self._job = asyncio.create_task(self._guarded())
        if termination.was_told():
            self._told_to_stop()
        try:
            outcome = await self._job
        except asyncio.CancelledError:
            message = f"the chief was told to stop; the last committed round is {self._last_round()}"
            outcome = Outcome(job_id=self.spec.job_id, reason=FailureReason.PREEMPTED, message=message)
        self.final = await self._recorded(outcome)
        return self.final

    def _told_to_stop(self) -> None:
        if not self.stop_asked:
            termination.end_within(self._last_word)
        self.stop()

    def _last_word(self) -> int:
        """The exit code of a chief whose time is up; says how it ended unless that is said already."""
        if self.final is not None:
            return self.final.exit_code
        message = f"the chief was told to stop and still waited for something {termination.END_S:.0f} s later"
        outcome = Outcome(
            job_id=self.spec.job_id,
            reason=FailureReason.PREEMPTED,
            message=f"{message}; the last committed round is {self._last_round()}",
            last_round=self._last_round(),
            manifest_uri=self._manifest_uri(self.last) if self.last else "",
        )
        return conclude(outcome, self.log, self.pod.termination_log)

    def health(self) -> Mapping[str, Any]:
        """What ``/health`` answers."""
        driver = self.driver
        state = driver.state.value if driver else self.phase
        boosting_round = driver.progress.round if driver else self._last_round()
        if state == "training":
            state = f"training round {boosting_round}"
        return {"state": state, "job_id": self.spec.job_id, "round": boosting_round, "of": self.spec.rounds}

    def stop(self) -> None:
        """SIGTERM or Ctrl-C: end with a checkpoint if there is time for one, else now. A second signal ends it now."""
        job = self._job
        if job is None or job.done():
            return
        driver, again = self.driver, self.stop_asked
        self.stop_asked = True
        if again or driver is None or not driver.stop(GRACE_S):
            job.cancel()
            return
        self.log.warning("stopping", f"told to stop: what is trained is committed, within {GRACE_S:.0f} s")
        asyncio.get_running_loop().call_later(GRACE_S, job.cancel)

    async def _guarded(self) -> Outcome:
        server = HealthServer(
            host=self.pod.pod_ip, port=self.pod.health_port, state=self.health, metrics=self.metrics.page
        )
        try:
            async with server:
                self.log.info("listening", f"/health on {server.host}:{server.port}", port=server.port)
                return await self._train()
        except Exception as e:  # noqa: BLE001 - whatever it is, the job ends with a reason
            return failure_outcome(self.spec.job_id, e, self.log)

    async def _train(self) -> Outcome:
        self.phase = "looking for checkpoints"
        uri = self.spec.output.checkpoints
        store = open_store(uri)
        checkpoints = Checkpoints(store=store, spec_sha256=spec_sha256(self.spec))
        found = await in_thread(checkpoints.newest, uri=uri)
        if not self.spec.resume:
            require_empty(found, uri)
        for passed_over in found.passed_over:
            self.log.warning("passed-over", f"a newer checkpoint is not usable: {passed_over}")
        self.last = found.manifest
        self._outcomes = store
        if found.manifest is not None and found.manifest.finished:
            self.log.info(
                "resumed", f"round {found.manifest.round} is committed and the last", round=found.manifest.round
            )
            return await self._result(found.manifest, found.documents, {}, {})
        epoch, found = await in_thread(checkpoints.take_over, self.spec.job_id, uri=uri)
        if self._job_metrics is not None:
            self._job_metrics.took_over(epoch)
        return await self._drive(checkpoints, epoch, found)

    async def _drive(self, checkpoints: Checkpoints, epoch: int, found: Found) -> Outcome:
        async with self._group() as group:
            driver = Driver(
                spec=self.spec, group=group, checkpoints=checkpoints, log=self.log, epoch=epoch, found=found
            )
            self.driver = driver
            finished = False
            try:
                manifest = await driver.run()
                await in_thread(checkpoints.check_epoch, epoch, uri=self.spec.output.checkpoints)
                outcome = await self._result(manifest, driver.documents, driver.seconds, driver.usage)
                finished = True
            finally:
                self.last = driver.committed
                await group.close(finished=finished)
        return outcome

    @contextlib.asynccontextmanager
    async def _group(self) -> AsyncIterator[Group]:
        if self.spec.num_workers == 1:
            cache_dir = self.pod.cache_dir / "worker-00"
            holder = RankHolder(cache_dir=cache_dir, memory_limit_bytes=self.pod.memory_limit_bytes)
            holder.prepare(self.spec.engine.value)
            yield SoloGroup(holder)
            return
        # Imported here: a job of one worker pays nothing for distribution, not even the import.
        from trainer.chief.dask_group import dask_group
        from trainer.tls import security

        certificates = security(self.pod.tls_dir)
        async with dask_group(
            spec=self.spec,
            host=self.pod.pod_ip,
            port=self.pod.chief_port,
            security=certificates,
            scratch=self.pod.cache_dir / "dask",
            log=self.log,
        ) as group:
            yield group

    async def _result(
        self,
        manifest: Manifest,
        documents: tuple[bytes, ...] | list[bytes],
        seconds: Mapping[str, float],
        usage: Mapping[str, float],
    ) -> Outcome:
        uri = self._manifest_uri(manifest)
        artifacts = open_store(self.spec.output.artifacts)
        times = {**seconds, "total": time.monotonic() - self.began}
        finished = Finished(manifest=manifest, manifest_uri=uri, documents=documents, seconds=times, usage=usage)
        result_uri = await in_thread(write_result, self.spec, finished, artifacts, uri=artifacts.uri)
        self.last = manifest
        self.log.info("finished", f"{manifest.round} rounds are trained: {result_uri}", result_uri=result_uri)
        return Outcome(job_id=self.spec.job_id, last_round=manifest.round, manifest_uri=uri, result_uri=result_uri)

    async def _recorded(self, outcome: Outcome) -> Outcome:
        """``outcome`` with the newest commit, also written beside it; that it cannot be is only a warning."""
        if self.driver is not None and self.driver.committed is not None:
            self.last = self.driver.committed
        complete = Outcome(
            job_id=outcome.job_id,
            reason=outcome.reason,
            message=outcome.message,
            last_round=self._last_round(),
            manifest_uri=self._manifest_uri(self.last) if self.last else "",
            result_uri=outcome.result_uri,
        )
        # One that found the run finished has no epoch of its own, and its predecessor may have written this already.
        epoch = self.driver.epoch if self.driver is not None else self.last.epoch if self.last else None
        if self._outcomes is not None and epoch is not None:
            await self._write_outcome(self._outcomes, layout.outcome(epoch), complete.to_json().encode())
        return complete

    async def _write_outcome(self, store: ObjectStore, name: str, data: bytes) -> None:
        try:
            await in_thread(store.create, name, data, uri=store.uri, within_s=OUTCOME_S)
        except ObjectExistsError:
            return
        except Exception as e:  # noqa: BLE001 - the outcome is in the termination log as well
            self.log.warning("outcome", f"{store.uri_of(name)}: not written ({type(e).__name__}: {e})")

    def _manifest_uri(self, manifest: Manifest) -> str:
        return f"{self.spec.output.checkpoints.rstrip('/')}/{layout.manifest(manifest.epoch, manifest.round)}"

    def _last_round(self) -> int:
        return self.last.round if self.last else 0
