"""From SIGKILL of a worker pod to the next finished round, beside Ray Train."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from f1_training.core.plan import RunPlan
from f1_training.kubernetes.client import Cluster
from f1_training.kubernetes.names import Purpose, attempt_ref
from tests.bench.bench import Bench, say
from tests.bench.events import Events, seconds
from tests.bench.figures import Figure, missing
from tests.bench.job import Ran, Wanted, chief_log, run_job
from tests.bench.peer import Peer, run_peer
from tests.bench.pods import kill_pod, pods
from tests.bench.stand import CONN_ID, Stand
from tests.bench.wall import XGBOOST, XGBOOST_PLAIN
from trainer.contract import Engine

WORKERS, KILL_AT_ROUND, CHECKPOINT_ROUNDS = 3, 20, 5
#: The chief's log is looked at now and then, so ours needs some rounds more for the kill to hit.
ROUNDS, RAY_ROUNDS = 150, 30
#: The next round after the loss, however a loss is told: the first one of the new group.
NEXT_ROUND = ("training", "boundary")
WAIT_S = 300.0
STEP_S = 0.05


def measure(bench: Bench, wanted: Sequence[str]) -> Iterator[Figure]:
    """One worker of three is killed at round 20; ours and Ray Train in turns."""
    sample = bench.simulated(bench.scale.recovery_rows)
    assert sample.file is not None
    ours: list[dict[str, Any]] = []
    rays: list[dict[str, Any]] = []
    for turn in range(bench.samples):
        killer = Killer(stand=bench.stand)
        job = Wanted(
            name="recovery",
            sample=sample,
            engine=Engine.XGBOOST,
            params=XGBOOST,
            rounds=ROUNDS,
            workers=WORKERS,
            segment_rounds=CHECKPOINT_ROUNDS,
            limits={"regroup_grace_s": 0.0},
            deadline_s=WAIT_S,
        )
        ours.append(_recovery(run_job(bench.stand, job, killer), killer))
        say(f"recovery, ours {turn + 1}/{bench.samples}: {ours[-1]}")
        if "recovery_vs_ray_train" in wanted:
            peer = Peer(
                script="xgboost_ray",
                rows=sample.file,
                params=XGBOOST_PLAIN,
                rounds=RAY_ROUNDS,
                threads=1,
                workers=WORKERS,
            )
            found = run_peer(peer)
            rays.append({n: found[n] for n in ("recovery_s", "rebuild_s", "killed_round", "resumed_round")})
            say(f"recovery, Ray Train {turn + 1}/{bench.samples}: {rays[-1]}")
    note = (
        f"{sample.rows} rows x {len(sample.features)}, {WORKERS} workers, checkpoint every {CHECKPOINT_ROUNDS} rounds"
    )
    yield from (_figure(name, ours, rays, note) for name in wanted)


def _figure(name: str, ours: list[dict[str, Any]], rays: list[dict[str, Any]], note: str) -> Figure:
    samples = {"ours": ours, "ray": rays}
    if any("recovery_s" not in one for one in ours):
        return missing(name, f"no round after the kill: {next(o['failure'] for o in ours if 'failure' in o)}")
    whole = statistics.median(one["recovery_s"] for one in ours)
    if name == "recovery_vs_ray_train":
        value = whole / statistics.median(float(one["recovery_s"]) for one in rays)
        return Figure(figure=name, value=value, samples=samples, note=f"{note}; both with the rebuild")
    value = statistics.median(one["recovery_s"] - one["rebuild_s"] for one in ours)
    return Figure(figure=name, value=value, samples=samples, note=f"{note}; less one matrix rebuild")


@dataclass
class Killer:
    """Kills the last worker pod once a round is reached. ``at`` is when (seconds since 1970), 0 before."""

    stand: Stand
    at: float = 0.0
    round: int = field(default=0)

    def __call__(self, plan: RunPlan) -> None:
        """Follow the chief's log until then."""
        cluster = Cluster.connect(CONN_ID)
        ref = attempt_ref(plan.job_id, Purpose.TRAIN, 1, plan.settings.namespace, plan.num_workers)
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            reached = [e["round"] for e in Events.read(chief_log(cluster, ref)).of("boundary")]
            workers = pods(self.stand, "trainer.worker")
            if reached and reached[-1] >= KILL_AT_ROUND and WORKERS - 1 in workers:
                self.round = reached[-1]
                self.at = kill_pod(workers[WORKERS - 1])
                return
            time.sleep(STEP_S)


def _recovery(ran: Ran, killer: Killer) -> dict[str, Any]:
    """Times after the kill, from the chief's log."""
    found: dict[str, Any] = {"killed_round": killer.round}
    after = {name: ran.events.first_after([name], killer.at) for name in ("lost", "group")}
    steps = {name: round(seconds(event) - killer.at, 3) for name, event in after.items() if event is not None}
    found |= {f"{name}_after_s": s for name, s in steps.items()}
    # A boundary that was on its way when the worker died is no sign of recovery.
    again = after["group"]
    step = None if again is None else ran.events.first_after(NEXT_ROUND, seconds(again) - 1e-3)
    if not killer.at or again is None or step is None:
        failure = ran.failure or "the job was over before the kill" * (not killer.at) or "no group after the kill"
        return {**found, "failure": failure}
    rebuild = again.get("build_s")
    return {
        **found,
        "recovery_s": round(seconds(step) - killer.at, 3),
        "rebuild_s": round(float(rebuild), 3) if rebuild is not None else 0.0,
        "event": step["event"],
        "round": step.get("round", 0),
    }
