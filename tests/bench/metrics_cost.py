"""What metrics cost training when Cloud Monitoring stalls, refuses and dies, and what arrives all the same."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import grpc

from f1_training.core.plan import RunPlan
from f1_training.core.settings import MetricsSettings
from tests.bench.bench import Bench, say
from tests.bench.figures import Figure
from tests.bench.job import Ran, Wanted, plan_of, run_plan
from tests.fakes.cloud_monitoring import CloudMonitoring
from trainer.contract import Engine
from trainer.contract.metrics import Exporter

#: Seconds after the first points: a stall begins and ends, quota errors follow, the server is killed, another comes.
STALLS, REFUSES, DIES, COMES_BACK = 1.0, 31.0, 41.0, 46.0
ROUNDS = "progress.iterations_completed"


class Outage:
    """A server of Cloud Monitoring with that timetable, which begins once it was first written to."""

    def __init__(self) -> None:
        self.servers = [CloudMonitoring()]
        self._over = threading.Event()

    def happen(self, _plan: RunPlan) -> None:
        """Go through the timetable, unless the job ends before."""
        server, at = self.servers[0], 0.0
        with server.changed:
            server.changed.wait_for(lambda: server.asked > 0 or self._over.is_set(), 60.0)
        for when, then in (
            (STALLS, server.stall),
            (REFUSES, self._refuse),
            (DIES, server.kill),
            (COMES_BACK, self._new),
        ):
            if self._over.wait(when - at):
                return
            at = when
            then()

    def end(self) -> None:
        """Stop whatever serves."""
        self._over.set()
        for server in self.servers:
            server.kill()

    def rounds(self) -> list[float]:
        """The sums of rounds that arrived, in order."""
        return [value.double_value for server in self.servers for value in server.values(ROUNDS)]

    def _refuse(self) -> None:
        self.servers[0].refuse = grpc.StatusCode.RESOURCE_EXHAUSTED
        self.servers[0].go_on()

    def _new(self) -> None:
        self.servers.append(CloudMonitoring(self.servers[0].port))


def measure(bench: Bench, wanted: Sequence[str]) -> Iterator[Figure]:
    """The same job without metrics and with both exporters through an outage, in turns that begin with either."""
    sample, rounds = bench.simulated(bench.scale.checkpoint_rows, for_peers=False), bench.scale.checkpoint_rounds // 2
    job = Wanted(
        name="metrics",
        sample=sample,
        engine=Engine.XGBOOST,
        params={"max_depth": 8, "learning_rate": 0.05, "max_bin": 256},
        rounds=rounds,
    )
    took: dict[bool, list[float]] = {False: [], True: []}
    cpu: dict[bool, list[float]] = {False: [], True: []}
    arrived: list[dict[str, Any]] = []
    for turn in range(bench.samples):
        for measured in (True, False) if turn % 2 else (False, True):
            plan = plan_of(bench.stand, job)
            if measured:
                ran, came = _through_an_outage(bench, plan, sample.snapshot)
                arrived.append(came)
            else:
                ran = run_plan(bench.stand, plan, sample.snapshot)
            took[measured].append(ran.wall_s)
            cpu[measured].append(ran.cpu_s(forming=True))
            say(f"metrics {'on' if measured else 'off'}, {turn + 1}/{bench.samples}: {took[measured][-1]:.2f} s")
    # What else the machine does drifts over minutes; the two runs of a turn follow each other.
    turns = [on / off for on, off in zip(took[True], took[False], strict=True)]
    in_cpu = statistics.median(cpu[True]) / statistics.median(cpu[False]) - 1
    samples = {
        "on": took[True],
        "off": took[False],
        "turns": [round(turn - 1, 4) for turn in turns],
        "cost_in_cpu": round(in_cpu, 4),
        "arrived": arrived,
    }
    note = f"{sample.rows} rows x {len(sample.features)}, depth 8, {rounds} rounds, 2 workers; {COMES_BACK:.0f} s of outage"
    yield from (Figure(figure=name, value=statistics.median(turns) - 1, samples=samples, note=note) for name in wanted)


def _through_an_outage(bench: Bench, plan: RunPlan, snapshot: Any) -> tuple[Ran, dict[str, Any]]:
    outage = Outage()
    metrics = MetricsSettings(exporters=tuple(Exporter), endpoint=outage.servers[0].endpoint)
    plan = replace(plan, settings=replace(plan.settings, metrics=metrics))
    try:
        ran = run_plan(bench.stand, plan, snapshot, during=outage.happen)
    finally:
        outage.end()
    sums = outage.rounds()
    return ran, {"points": len(sums), "last_sum": max(sums, default=0.0), "rounds": ran.result.trained_rounds}
