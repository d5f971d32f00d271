"""One training job of ours: through the operator, as pods, and what its chief said about it."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from airflow.sdk.exceptions import AirflowException

from f1_training.core.plan import RunIdentity, RunPlan, plan_runs
from f1_training.core.settings import read_settings
from f1_training.core.specs import training_spec
from f1_training.kubernetes.certificates import issue
from f1_training.kubernetes.client import Cluster
from f1_training.kubernetes.manifests import Bundle, training_bundle
from f1_training.kubernetes.names import AttemptRef
from f1_training.kubernetes.settings import job_settings
from f1_training.operators import DaskTrainingOperator
from tests.bench.events import Events, seconds
from tests.bench.pods import Series, grown, rank_cpu_s
from tests.bench.rows import Sample
from tests.bench.stand import CONN_ID, Stand, deadline
from tests.fakes.run_plan import StateStore
from trainer.contract import Engine, Limits, Metric, Objective, TrainingResult, read_catalogue
from trainer.contract.fields import Scalar, decode, encode
from trainer.contract.resources import Resources
from trainer.contract.spec import SnapshotRef

JOB_S = 900.0
#: Looking at all processes of the machine is work that training would notice.
CPU_EVERY_S = 1.0
MEMORY = Resources(cpu="1", memory="16Gi")
During = Callable[[RunPlan], None]
_numbers = itertools.count(1)


class JobFailed(Exception):
    """The job ended without a model; the message has the operator's words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A job to measure. ``limits`` overrides some of the spec's."""

    name: str
    sample: Sample
    engine: Engine
    params: Mapping[str, Scalar]
    rounds: int
    workers: int = 2
    threads: int = 1
    segment_rounds: int = 100
    limits: Mapping[str, float] = field(default_factory=dict)
    deadline_s: float = JOB_S


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """A job that is over: what it made, and the event log of its chief."""

    job_id: str
    events: Events
    made: TrainingResult | None
    failure: str = ""
    cpu: Series | None = None

    @property
    def result(self) -> TrainingResult:
        """What it made.

        Raises:
            JobFailed: the job failed.
        """
        if self.made is None:
            raise JobFailed(f"{self.job_id}: {self.failure}")
        return self.made

    def cpu_s(self, *, forming: bool) -> float:
        """CPU that the ranks used from the beginning of ``forming``, or else of training, to the last boundary.

        What else the machine does changes it far less than the time on the clock.
        """
        assert self.cpu is not None
        began = seconds(self.events.of("group")[0]) - (self.result.seconds["forming"] if forming else 0.0)
        return grown(self.cpu, began, seconds(self.events.of("boundary")[-1]))

    @property
    def wall_s(self) -> float:
        """Joining, building the matrices and training to the last boundary: the span that is timed of the peers."""
        return float(self.result.seconds["forming"] + self.result.seconds["training"])


class MeasuredTraining(DaskTrainingOperator):
    """The operator with limits of its own, which keeps the chief's log before the pods are deleted."""

    def __init__(self, *, limits: Mapping[str, float], folder: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limits = limits
        self.folder = folder
        self.said: list[str] = []

    def bundle(self, plan: RunPlan, attempt: int) -> Bundle:
        """As the operator's, with other limits."""
        spec = training_spec(plan, decode(SnapshotRef, self.snapshots["training"], "snapshot"), attempt)
        spec = replace(spec, limits=replace(spec.limits or Limits(), **self.limits))
        settings = job_settings(plan, self.purpose, attempt)
        certificates = issue(settings.names.dns_names(), settings.deadline_s) if spec.num_workers > 1 else None
        return training_bundle(spec, settings, certificates)

    def _delete(self, plan: RunPlan, ref: AttemptRef) -> None:
        cluster = self.connect(plan)
        self.said = chief_log(cluster, ref)
        self.folder.mkdir(parents=True, exist_ok=True)
        for pod in cluster.observe(ref).pods:
            lines = cluster.log_lines(ref.namespace, pod["metadata"]["name"])
            (self.folder / f"{pod['metadata']['name']}.log").write_text("\n".join(line for _, line in lines))
        super()._delete(plan, ref)


def chief_log(cluster: Cluster, ref: AttemptRef) -> list[str]:
    """The lines that the attempt's chief has written so far."""
    pods = [p["metadata"] for p in cluster.observe(ref).pods]
    chiefs = [p["name"] for p in pods if (p.get("labels") or {}).get("app.kubernetes.io/component") == "chief"]
    return [line for name in chiefs for _, line in cluster.log_lines(ref.namespace, name)]


def run_job(stand: Stand, wanted: Wanted, during: During | None = None) -> Ran:
    """Train as ``wanted``; ``during`` runs in a thread of its own meanwhile. See :func:`run_plan`."""
    return run_plan(stand, plan_of(stand, wanted), wanted.sample.snapshot, during, wanted.limits)


def run_plan(
    stand: Stand,
    plan: RunPlan,
    snapshot: SnapshotRef,
    during: During | None = None,
    limits: Mapping[str, float] = MappingProxyType({}),
) -> Ran:
    """Train ``plan`` on ``snapshot`` through the operator. A job that fails gives its events, and no result.

    Raises:
        TimeoutError: it was not over within the plan's deadline; nothing of it is left.
    """
    operator = MeasuredTraining(
        task_id="train",
        plan=plan.to_xcom(),
        snapshots={"training": encode(snapshot)},
        deferrable=False,
        limits=limits,
        folder=stand.folder / "jobs",
    )
    beside = threading.Thread(target=during, args=(plan,), daemon=True) if during else None
    result, failure = None, ""
    cpu = Series(lambda: rank_cpu_s(stand), CPU_EVERY_S)
    try:
        late = deadline(plan.settings.deadline_s, f"job {plan.job_id}")
        with quiet(stand.folder / "operator.log"), late, cpu.running():
            if beside is not None:
                beside.start()
            made = operator.execute({"task_state_store": StateStore()})
            result = TrainingResult.from_json(Path(made["result_uri"].removeprefix("file://")).read_text())
    except AirflowException as e:
        failure = str(e)
    except BaseException:
        operator.on_kill()
        raise
    finally:
        if beside is not None:
            beside.join(10.0)
    return Ran(job_id=plan.job_id, events=Events.read(operator.said), made=result, failure=failure, cpu=cpu)


def deployment(stand: Stand, run_id: str, *, workers: int, threads: int, rounds: int, deadline_s: float) -> RunPlan:
    """The plan of a run on the stand-ins, as the DAG's first task would make it."""
    body = {
        "project": "local",
        "image": "image:1",
        "uris": {name: f"file://{stand.folder}/{name}" for name in ("checkpoints", "artifacts", "models")},
        "kubernetes_conn_id": CONN_ID,
        "collective_host": "127.0.0.1",
        "threads": threads,
        "poll_interval_s": 1.0,
        "deadline_s": int(deadline_s),
        "pod_environment": {"BIGQUERY_STORAGE_EMULATOR_HOST": os.environ["BIGQUERY_STORAGE_EMULATOR_HOST"]},
    }
    identity = RunIdentity(dag_id="bench", run_id=run_id, at=datetime.now(UTC))
    asked = {"model_type": "tire_degradation", "num_workers": workers, "rounds": rounds}
    (plan,) = plan_runs(asked, read_settings(body), identity, read_catalogue(), "0.1.0")
    return plan


def plan_of(stand: Stand, wanted: Wanted) -> RunPlan:
    """The plan of the job ``wanted``; each time another run's."""
    run_id = f"{wanted.name}-{next(_numbers)}"
    size = {"workers": wanted.workers, "threads": wanted.threads, "rounds": wanted.rounds}
    plan = deployment(stand, run_id, deadline_s=wanted.deadline_s, **size)
    entry = replace(
        plan.entry,
        engine=wanted.engine,
        objective=Objective.SQUARED_ERROR,
        metric=Metric.RMSE,
        target="target",
        features=wanted.sample.features,
        checks=replace(plan.entry.checks, sparse=()),
        params={wanted.engine.value: dict(wanted.params)},
        early_stopping_rounds=0,
        segment_rounds=wanted.segment_rounds,
        logical_shards=wanted.sample.snapshot.logical_shards,
        resources=MEMORY,
        chief_resources=MEMORY,
    )
    return replace(plan, entry=entry)


@contextlib.contextmanager
def quiet(path: Path) -> Iterator[None]:
    """What Airflow prints goes to a file: standard output is for figures."""
    with path.open("a") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        yield
