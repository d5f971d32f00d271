"""The tasks of the preflight: findings survive a task that fails, and the report has them all."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from f1_training.core.plan import RunPlan
from f1_training.core.storage import open_store
from f1_training.kubernetes.names import Purpose
from f1_training.operators import PreflightChecksOperator, PreflightReportOperator, ProbeOperator
from f1_training.operators.preflight import FINDINGS, NODES
from f1_training.preflight.report import Finding, Verdict
from tests.fakes.run_plan import StateStore, make_plan, settings
from tests.unit.operators.test_job import RUNNING, FakeCluster, over
from trainer.contract import FailureReason, Outcome
from trainer.contract.fields import encode
from trainer.contract.probe import FOLDER, ProbeSpec

STEPS = {"checks": "checks", "chief_nodes": "nodes of chiefs"}


class Ti:
    """A task instance: XComs of its run, states of the other tasks."""

    dag_id = "f1_preflight"

    def __init__(self, found: dict[str, Any] | None = None, states: dict[str, str] | None = None) -> None:
        self.found, self.states = found or {}, states or {}
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, *, key: str, value: Any) -> None:
        self.pushed[key] = value

    def xcom_pull(self, *, task_ids: str, key: str) -> Any:
        assert key == FINDINGS
        return self.found.get(task_ids)

    def get_task_states(self, *, dag_id: str, run_ids: list[str], task_ids: list[str]) -> dict[str, Any]:
        assert (dag_id, run_ids) == (self.dag_id, ["run"])
        return {"run": {task: self.states[task] for task in task_ids if task in self.states}}


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    return make_plan(settings(f"file://{tmp_path}", poll_interval_s=0.01, defer_after_s=0), dry_run=True)


def context(ti: Ti) -> dict[str, Any]:
    return {"ti": ti, "task_state_store": StateStore(), "dag_run": SimpleNamespace(run_id="run")}


def probe(plan: RunPlan, nodes: Purpose, cluster: FakeCluster) -> ProbeOperator:
    operator = ProbeOperator(task_id="probe", plan=plan.to_xcom(), nodes=nodes)
    operator.connect = lambda _plan: cluster  # type: ignore[method-assign, assignment, return-value]
    return operator


@pytest.mark.parametrize("nodes", NODES)
def test_a_probe_is_a_job_of_its_own_and_tells_what_its_pod_found(plan: RunPlan, nodes: Purpose) -> None:
    cluster, ti = FakeCluster(RUNNING), Ti()
    with pytest.raises(TaskDeferred):
        probe(plan, nodes, cluster).execute(context(ti))
    (made,) = cluster.jobs.values()
    container = made.main["spec"]["template"]["spec"]["containers"][0]
    spec = ProbeSpec.from_json(next(v["value"] for v in container["env"] if v["name"] == "PROBE_SPEC"))
    assert (spec.table, spec.rows) == (plan.training_table, 3)
    event = {"attempt": 1, "outcome": Outcome(job_id=plan.job_id, message="all is well").to_json(), "evidence": []}
    done = probe(plan, nodes, cluster).execute_complete(context(ti), event)
    assert done == ti.pushed[FINDINGS]
    assert done == [encode(Finding(check=NODES[nodes], verdict=Verdict.PASS, found="all is well"))]
    assert cluster.deleted == [made.name]


@pytest.mark.parametrize(("nodes", "device"), [(Purpose.CHIEF_NODES, "cpu"), (Purpose.WORKER_NODES, "cuda")])
def test_a_gpu_is_looked_for_where_trees_are_grown_only(tmp_path: Path, nodes: Purpose, device: str) -> None:
    plan = make_plan(settings(f"file://{tmp_path}"), dry_run=True, device="gpu")
    job = probe(plan, nodes, FakeCluster(RUNNING)).bundle(plan, 1).main
    container = job["spec"]["template"]["spec"]["containers"][0]
    spec = ProbeSpec.from_json(next(v["value"] for v in container["env"] if v["name"] == "PROBE_SPEC"))
    assert spec.device == device
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) is (device == "cuda")


def test_a_probe_that_fails_is_a_finding_with_what_to_do_and_is_not_tried_again(plan: RunPlan) -> None:
    ti = Ti()
    ended = Outcome(job_id=plan.job_id, reason=FailureReason.RESOURCE_EXHAUSTED, message="cannot pull the image")
    with pytest.raises(AirflowFailException, match="^ResourceExhausted: cannot pull the image"):
        cluster = FakeCluster(over(ended))
        plan_at_once = make_plan(settings(plan.settings.uris.models.removesuffix("/models"), poll_interval_s=0.01))
        probe(plan_at_once, Purpose.WORKER_NODES, cluster).execute(context(ti))
    (finding,) = ti.pushed[FINDINGS]
    assert (finding["check"], finding["verdict"]) == ("nodes of workers", "fail")
    assert "look at quota and image" in finding["fix"]


def report(plan: RunPlan | None, ti: Ti) -> Any:
    operator = PreflightReportOperator(
        task_id="report", plan=plan.to_xcom() if plan else None, steps=STEPS, dry_run=("dry_run", "the-dry-run")
    )
    return operator.execute(context(ti))


def test_the_report_has_every_finding_and_the_dry_run(plan: RunPlan) -> None:
    quota = encode(Finding(check="quota", verdict=Verdict.PASS, found="room"))
    ti = Ti({"checks": [quota]}, {"checks": "success", "chief_nodes": "success", "dry_run": "success"})
    open_store(plan.checkpoints_uri).create(f"{FOLDER}/tried", b"first")
    rows = report(plan, ti)
    assert [(row["check"], row["verdict"]) for row in rows] == [
        ("quota", "pass"),
        ("nodes of chiefs", "pass"),
        ("dry run", "pass"),
    ]
    assert "the-dry-run" in rows[-1]["found"]
    assert open_store(plan.checkpoints_uri).list() == []


@pytest.mark.parametrize(
    ("states", "verdicts", "fix"),
    [
        ({"checks": "failed", "chief_nodes": "upstream_failed"}, ["fail", "skip", "skip"], "see its log"),
        ({"checks": "success", "chief_nodes": "success", "dry_run": "failed"}, ["pass", "pass", "fail"], "unpause"),
    ],
)
def test_the_report_fails_with_what_failed_and_keeps_the_rest(
    plan: RunPlan, states: dict[str, str], verdicts: list[str], fix: str
) -> None:
    ti = Ti(states=states)
    with pytest.raises(AirflowFailException, match="^1 checks failed: "):
        report(plan, ti)
    rows = ti.pushed[FINDINGS]
    assert [row["verdict"] for row in rows] == verdicts
    assert fix in next(row["fix"] for row in rows if row["verdict"] == "fail")


def test_a_plan_that_failed_is_in_the_report() -> None:
    ti = Ti(states={"checks": "upstream_failed", "chief_nodes": "upstream_failed"})
    rows = report(None, ti)
    assert [row["verdict"] for row in rows] == ["skip", "skip", "skip"]


def test_all_checks_are_made_before_the_task_fails(plan: RunPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise AirflowException("nobody answers")

    operator, ti = PreflightChecksOperator(task_id="checks", plan=plan.to_xcom()), Ti()
    monkeypatch.setattr("f1_training.kubernetes.client.Cluster.connect", refuse)
    monkeypatch.setattr("f1_training.bigquery.client.Warehouse.connect", refuse)
    monkeypatch.setattr(
        "f1_training.operators.preflight._connection", lambda _name: SimpleNamespace(conn_type="kubernetes")
    )
    with pytest.raises(AirflowFailException, match="^3 checks failed: permissions: AirflowException: nobody answers"):
        operator.execute(context(ti))
    verdicts = {row["check"]: row["verdict"] for row in ti.pushed[FINDINGS]}
    assert {name for name, verdict in verdicts.items() if verdict == "fail"} == {"permissions", "quota", "BigQuery"}
    assert verdicts["storage of models"] == "pass"
