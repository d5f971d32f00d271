"""Undisturbed runs to compare with, the table of what was survived, and invariants that every test leaves behind."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.chaos.cluster import Report, Run, local
from tests.chaos.network import Network, why_not
from tests.integration.jobs.conftest import FEATURES, snapshot, snapshot_file, storage_port
from tests.integration.jobs.pods import UNMEASURED, Launcher, gone, make_certificates, storage_read
from trainer.contract import (
    CheckpointPolicy,
    Engine,
    Limits,
    Manifest,
    Metric,
    Objective,
    OutputUris,
    SnapshotRef,
    TrainingSpec,
)

__all__ = ["snapshot", "snapshot_file", "storage_port"]
SEGMENT = 50
#: Small trees: ranks that share two cores with those of another test wait for each other once a level.
PARAMS: dict[Engine, dict[str, Any]] = {
    Engine.XGBOOST: {"max_depth": 4, "learning_rate": 0.02, "subsample": 0.8, "colsample_bytree": 0.7},
    Engine.LIGHTGBM: {"num_leaves": 15, "learning_rate": 0.02, "bagging_fraction": 0.8, "bagging_freq": 1},
}
#: Without sampling. On 12,000 rows the luck of the draw alone moves the error by 2 %, which would hide what is asked of
#: a job that goes on with fewer workers: an error within 1 %.
STEADY: dict[Engine, dict[str, Any]] = {
    Engine.XGBOOST: {"max_depth": 4, "learning_rate": 0.02},
    Engine.LIGHTGBM: {"num_leaves": 15, "learning_rate": 0.02},
}
BOTH = pytest.mark.parametrize("engine", Engine)
COLUMNS = ("fault", "engine", "detected_s", "recovered_s", "rounds_lost", "same_bytes")
Wanted = Callable[..., TrainingSpec]
Start = Callable[..., Run]


def make_launcher(folder: Path, storage_port: int) -> Launcher:
    """A launcher of pods that write below ``folder``."""
    environment = {"BIGQUERY_STORAGE_EMULATOR_HOST": f"127.0.0.1:{storage_port}", **UNMEASURED}
    return Launcher(folder, environment, make_certificates(folder / "tls"))


@pytest.fixture
def launcher(tmp_path: Path, storage_port: int) -> Iterator[Launcher]:
    """Starts pods, and ends what is left of them."""
    started = make_launcher(tmp_path, storage_port)
    yield started
    started.close()


@pytest.fixture
def wanted(tmp_path: Path, snapshot: SnapshotRef) -> Wanted:
    """Specs of one job; changes by keyword."""

    def make(**changes: Any) -> TrainingSpec:
        return make_spec(tmp_path / "outputs", snapshot, **changes)

    return make


def make_spec(folder: Path, snapshot: SnapshotRef, **changes: Any) -> TrainingSpec:
    """3 workers, 400 rounds in segments of 50: some seconds of training."""
    engine = changes.get("engine", Engine.XGBOOST)
    values: dict[str, Any] = {
        "job_id": "chaos",
        "model_type": "made_up",
        "engine": engine,
        "objective": Objective.SQUARED_ERROR,
        "metric": Metric.RMSE,
        "features": FEATURES,
        "rounds": 400,
        "params": PARAMS[engine],
        "snapshot": snapshot,
        "output": OutputUris(checkpoints=(folder / "c").as_uri(), artifacts=(folder / "a").as_uri()),
        "num_workers": 3,
        "checkpoint": CheckpointPolicy(segment_rounds=SEGMENT),
        "limits": Limits(worker_start_s=60, heartbeat_s=20, regroup_grace_s=60, partition_s=60),
        "seed": 3,
    }
    return TrainingSpec(**{**values, **changes})


@pytest.fixture
def start(launcher: Launcher) -> Iterator[Start]:
    """Start a job; what it leaves is checked at the end."""
    runs: list[Run] = []

    def begin(spec: TrainingSpec, *, restart_s: float | None = 0.1, network: Network | None = None) -> Run:
        runs.append(Run(launcher, spec, restart_s, network))
        return runs[-1]

    yield begin
    for run in runs:
        run.close()
    assert gone(_processes_of(launcher.folder)) == [], "processes are left"
    for run in runs:
        assert strays(run.spec) == [], "files that belong to no checkpoint"


@pytest.fixture
def network(snapshot_file: Path, launcher: Launcher) -> Iterator[Network]:
    """Workers in namespaces of their own; the chief and BigQuery are on the other side of the bridge."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    made = Network()
    try:
        with storage_read({"f1-project.f1_staging.made_up": snapshot_file}, "0.0.0.0") as port:
            launcher.environment["BIGQUERY_STORAGE_EMULATOR_HOST"] = f"{made.host}:{port}"
            yield made
    finally:
        launcher.close()
        made.close()


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, snapshot: SnapshotRef, storage_port: int
) -> Callable[..., Report]:
    """The same job without any fault: run once a kind, by whichever of xdist's workers asks first."""
    shared = (
        tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else tmp_path_factory.getbasetemp()
    )

    def report(**changes: Any) -> Report:
        name = hashlib.sha256(repr(sorted(changes.items())).encode()).hexdigest()[:16]
        known = shared / f"undisturbed-{name}"
        with known.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not known.exists():
                known.write_bytes(pickle.dumps(run(changes)))
        found: Report = pickle.loads(known.read_bytes())
        return found

    def run(changes: dict[str, Any]) -> Report:
        folder = tmp_path_factory.mktemp("undisturbed")
        own = make_launcher(folder, storage_port)
        job = Run(own, make_spec(folder / "outputs", snapshot, **changes), None)
        try:
            return job.until_finished()
        finally:
            job.close()
            own.close()

    return report


@pytest.fixture
def survived(record_property: Callable[[str, Any], None]) -> Callable[..., None]:
    """Write a row of the table: what happened, beside the ``undisturbed`` job where the faults let this one finish."""

    def row(
        fault: str, run: Run, report: Report, undisturbed: Report | None = None, *, detected_by: str = "lost"
    ) -> None:
        values = (
            fault,
            run.spec.engine.value,
            run.detected_s(detected_by),
            run.recovered_s(),
            rounds_lost(report),
            same_bytes(report, undisturbed),
        )
        record_property("survived", dict(zip(COLUMNS, values, strict=True)))

    return row


def same_bytes(report: Report, undisturbed: Report | None) -> str:
    """The last column: ``yes``, or by how much the error on the validation split differs, or how the job ended."""
    if report.outcome.reason is not None:
        return f"ends: {report.outcome.reason.value}"
    if undisturbed is None:
        return "-"
    if report.sha256 == undisturbed.sha256:
        return "yes"
    return f"no, error {report.metric / undisturbed.metric - 1:+.2%}"


def rounds_lost(report: Report) -> int:
    """Rounds that were trained and had to be trained again, as far as chiefs knew of them."""
    lost, furthest = sum(int(e["rounds_lost"]) for e in report.named("lost")), 0
    for event in report.events:
        if event["event"] in ("progress", "boundary"):
            furthest = max(furthest, int(event["round"]))
        elif event["event"] == "resumed":
            lost += max(0, furthest - int(event["round"]))
    return lost


def strays(spec: TrainingSpec) -> list[str]:
    """Files below the checkpoints that no manifest, marker or outcome accounts for.

    A segment whose manifest was never written is one of a chief that was killed between the two: it is allowed in the
    last round of an epoch, and removed by Airflow after the run.
    """
    folder = local(spec.output.checkpoints)
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    manifests = {f for f in files if f.endswith("manifest.json")}
    known = {f for f in files if f.endswith(("epoch.json", "outcome.json"))} | manifests
    for name in manifests:
        try:
            known |= {part.file for part in Manifest.from_json((folder / name).read_text()).segments}
        except ValueError:  # a test tore it
            known.add(str(Path(name).with_name("segment.ubj")))
            known.add(str(Path(name).with_name("segment.txt")))
    epochs = {f.split("/")[1] for f in files if f.startswith("epochs/")}
    uncommitted = sorted(files - known)
    newest = {max((f for f in uncommitted if f.split("/")[1] == epoch), default="") for epoch in epochs}
    return [f for f in uncommitted if f not in newest or "/segment" not in f]


def _processes_of(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TRAINING_CACHE_DIR", "").startswith(str(folder)):
                found.append(process)
        except psutil.Error:
            continue
    return found


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table, also as ``var/chaos.md``."""
    reports = [r for outcome in ("passed", "failed") for r in terminalreporter.stats.get(outcome, ())]
    rows = [value for r in reports for name, value in getattr(r, "user_properties", ()) if name == "survived"]
    if not rows:
        return
    head = ("fault", "engine", "detected after (s)", "recovered after (s)", "rounds lost", "same bytes")
    shown = [["-" if row[column] is None else str(row[column]) for column in COLUMNS] for row in rows]
    widths = [max(len(line[i]) for line in [list(head), *shown]) for i in range(len(head))]
    lines = ["| " + " | ".join(v.ljust(w) for v, w in zip(line, widths, strict=True)) + " |" for line in [head, *shown]]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    terminalreporter.section("what was survived")
    terminalreporter.write_line("\n".join(lines))
    target = Path(__file__).parents[2] / "var" / "chaos.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(lines) + "\n")
