"""A job of real processes, something that starts lost ones again as a Job controller does, and a script of faults.

    report = cluster.run(spec).at_round(120).kill_workers(1).until_finished()

Every step waits for its condition with a deadline; nothing sleeps to hope.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil

from tests.chaos.network import Network
from tests.integration.jobs.pods import Launcher, Pod, free_port
from trainer.contract import GroupChange, Manifest, Outcome, TrainingResult, TrainingSpec, layout

DEADLINE_S = 120.0
POLL_S = 0.02


def local(uri: str) -> Path:
    """The folder of a ``file://`` URI."""
    return Path(unquote(urlsplit(uri).path))


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a job with faults ended."""

    exit_code: int
    outcome: Outcome
    manifest: Manifest | None
    sha256: str
    metric: float
    events: list[dict[str, Any]]

    @property
    def changes(self) -> list[GroupChange]:
        """The lineage, without the groups."""
        return [event.change for event in self.manifest.lineage] if self.manifest else []

    def named(self, event: str) -> list[dict[str, Any]]:
        """The chiefs' events of one name, in order."""
        return [line for line in self.events if line["event"] == event]


@dataclass
class Run:
    """One job. ``restart_s`` is how soon a dead worker is started again; None: never."""

    launcher: Launcher
    spec: TrainingSpec
    restart_s: float | None
    network: Network | None = None
    chiefs: list[Pod] = field(default_factory=list)
    workers: dict[int, Pod] = field(default_factory=dict)
    fault_at: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._host = self.network.host if self.network else "127.0.0.1"
        self._port = free_port()
        self.start_chief()
        # A single worker is the chief itself.
        for index in range(self.spec.num_workers if self.spec.num_workers > 1 else 0):
            self._start_worker(index)
        self._controller = threading.Thread(target=self._control, daemon=True)
        self._controller.start()

    @property
    def chief(self) -> Pod:
        """The newest chief."""
        return self.chiefs[-1]

    @property
    def events(self) -> list[dict[str, Any]]:
        """What all chiefs said, in order of time."""
        return sorted((e for chief in self.chiefs for e in list(chief.seen)), key=lambda e: str(e["time"]))

    @property
    def checkpoints(self) -> Path:
        """The folder of the job's checkpoints."""
        return local(self.spec.output.checkpoints)

    def start_chief(self, **environment: str) -> Run:
        """A chief for the job, also where another one is still alive."""
        self.chiefs.append(self.launcher.chief(self.spec, self._port, POD_IP=self._host, **environment))
        return self

    # When ---------------------------------------------------------------------------------------------------------

    def at_round(self, boundary: int) -> Run:
        """Once ``boundary`` rounds are committed."""
        return self.once(lambda: self._committed() >= boundary, f"round {boundary} is committed")

    def after(self, event: str, **fields: Any) -> Run:
        """Once the newest chief has said ``event``."""
        chief = self.chief
        known = len(chief.seen)
        return self.once(
            lambda: any(
                e["event"] == event and all(e.get(k) == v for k, v in fields.items()) for e in chief.seen[known:]
            ),
            f"{event} {fields}",
        )

    def once(self, holds: Callable[[], bool], what: str, within_s: float = DEADLINE_S) -> Run:
        """Go on when ``holds``; a job that ends before, or a deadline, fails the test."""
        deadline = time.monotonic() + within_s
        while not holds():
            ended = self.chief.process.poll() is not None
            # What it said last may still be on its way to us.
            if time.monotonic() > deadline or (ended and not holds()):
                raise AssertionError(f"not so {'before it ended' if ended else 'in time'}: {what}; {self.chief.tail()}")
            time.sleep(POLL_S)
        return self

    # What ---------------------------------------------------------------------------------------------------------

    def kill_workers(self, *workers: int) -> Run:
        """SIGKILL to whole process groups, as when their machines vanish."""
        return self._signal(signal.SIGKILL, *workers)

    def preempt_workers(self, *workers: int) -> Run:
        """SIGTERM to the main process, as the kubelet does."""
        self.fault_at = time.time()
        for worker in workers:
            self.workers[worker].process.terminate()
        return self

    def stop_workers(self, *workers: int) -> Run:
        """SIGSTOP: they hang."""
        return self._signal(signal.SIGSTOP, *workers)

    def continue_workers(self, *workers: int) -> Run:
        """SIGCONT."""
        for worker in workers:
            self.workers[worker].signal(signal.SIGCONT)
        return self

    def slow_worker(self, worker: int, for_s: float) -> Run:
        """Stop and continue it in turns: a tenth of its speed."""
        self.fault_at = time.time()
        pod, until = self.workers[worker], time.monotonic() + for_s
        while time.monotonic() < until and self.chief.process.poll() is None:
            for number, share_s in ((signal.SIGSTOP, 0.18), (signal.SIGCONT, 0.02)):
                pod.signal(number)
                self._over.wait(share_s)
        pod.signal(signal.SIGCONT)
        return self

    def kill_rank(self, worker: int) -> Run:
        """SIGKILL to the training process alone."""
        return self._signal_rank(worker, signal.SIGKILL)

    def stop_rank(self, worker: int) -> Run:
        """SIGSTOP to the training process alone: the worker's heartbeats go on."""
        return self._signal_rank(worker, signal.SIGSTOP)

    def _signal_rank(self, worker: int, number: int) -> Run:
        self.fault_at = time.time()
        family = self.workers[worker].family() if self.workers else self.chief.family()
        # The server that forks ranks looks like them; the youngest is what trains.
        ranks = [p for p in family if "trainer.rank" in p.cmdline()]
        max(ranks, key=psutil.Process.create_time).send_signal(number)
        return self

    def kill_chief(self) -> Run:
        """SIGKILL to the chief, and a new one in its place."""
        return self.lose_chief().start_chief()

    def lose_chief(self) -> Run:
        """SIGKILL to the chief."""
        self.fault_at = time.time()
        self.chief.kill()
        return self

    def preempt_chief(self) -> Run:
        """SIGTERM to the chief, which ends in time."""
        self.fault_at = time.time()
        self.chief.process.terminate()
        assert self.chief.wait(30) == os.EX_TEMPFAIL
        return self

    def cut(self, *workers: int) -> Run:
        """Cut the network to ``workers``."""
        assert self.network is not None
        self.fault_at = time.time()
        self.network.cut(*workers)
        return self

    def mend(self, *workers: int) -> Run:
        """Mend it."""
        assert self.network is not None
        self.network.mend(*workers)
        return self

    # Then ---------------------------------------------------------------------------------------------------------

    def until_ended(self, within_s: float = DEADLINE_S) -> Report:
        """Wait for the newest chief's end, then for everything else to go by itself."""
        code = self.chief.wait(within_s)
        self._over.set()
        self._controller.join(10)
        outcome = self.chief.outcome()
        manifest = Manifest.from_json(local(outcome.manifest_uri).read_bytes()) if outcome.manifest_uri else None
        folder = local(self.spec.output.artifacts)
        written = folder / layout.RESULT
        result = TrainingResult.from_json(written.read_bytes()) if written.exists() else None
        split = self.spec.validation_split or ""
        return Report(
            exit_code=code,
            outcome=outcome,
            manifest=manifest,
            sha256=result.sha256 if result else "",
            metric=result.metrics[split] if result else float("nan"),
            events=self.events,
        )

    def until_finished(self, within_s: float = DEADLINE_S) -> Report:
        """The same for a job that must succeed, and whose workers must end well."""
        report = self.until_ended(within_s)
        assert report.exit_code == os.EX_OK, self.chief.tail()
        return report

    def detected_s(self, event: str = "lost") -> float | None:
        """From the newest fault to the chief's ``event``."""
        return self._since_fault(event)

    def recovered_s(self) -> float | None:
        """From the newest fault to the next finished round of a new group."""
        return self._since_fault("training")

    def close(self) -> None:
        """End whatever is left."""
        self._over.set()
        self._controller.join(10)
        for pod in [*self.chiefs, *self.workers.values()]:
            pod.kill()

    def _since_fault(self, event: str) -> float | None:
        at = [_seconds(e) for e in self.events if e["event"] == event]
        after = [second for second in at if second >= self.fault_at - 0.001]
        return round(min(after) - self.fault_at, 2) if after and self.fault_at else None

    def _signal(self, number: int, *workers: int) -> Run:
        self.fault_at = time.time()
        for worker in workers:
            self.workers[worker].signal(number)
        return self

    def _committed(self) -> int:
        return max((int(e["round"]) for e in self.events if e["event"] == "committed"), default=0)

    def _start_worker(self, index: int) -> None:
        own = {"POD_IP": self.network.address(index)} if self.network else {}
        prefix = self.network.prefix(index) if self.network else ()
        environment = {
            "TRAINING_JOB_ID": self.spec.job_id,
            "WORKER_INDEX": str(index),
            "TOTAL_WORKERS": str(self.spec.num_workers),
            "TRAINING_CHIEF_ADDRESS": f"{self._host}:{self._port}",
            "TRAINING_RECONNECT_S": "60",
            **own,
        }
        # A name of its own, so that it has an empty disk.
        name = f"worker{index}-{len(self.launcher.started)}"
        self.workers[index] = self.launcher.pod(name, "trainer.worker", environment, prefix)

    def _control(self) -> None:
        """Start dead workers again, as the Job controller does."""
        died: dict[int, float] = {}
        while self.restart_s is not None and not self._over.wait(POLL_S):
            for index, pod in list(self.workers.items()):
                if pod.process.poll() is None:
                    continue
                since = time.monotonic() - died.setdefault(index, time.monotonic())
                if pod.process.returncode != os.EX_OK and since >= self.restart_s:
                    del died[index]
                    self._start_worker(index)


def _seconds(event: dict[str, Any]) -> float:
    return dt.datetime.fromisoformat(str(event["time"])).timestamp()
