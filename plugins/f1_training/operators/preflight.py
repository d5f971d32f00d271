"""The tasks of ``f1_preflight``: checks from Airflow, probes from pods on both kinds of nodes, and the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from f1_training.core.failures import ADVICE, airflow_errors
from f1_training.core.plan import RunPlan
from f1_training.core.retry import Decision
from f1_training.kubernetes.names import Purpose
from f1_training.operators.job import JobOperator
from trainer.contract import Device, Outcome, TrainingFailure
from trainer.contract.fields import decode, encode

if TYPE_CHECKING:
    from f1_training.kubernetes.manifests import Bundle, Manifest
    from f1_training.operators.attempts import Attempts
    from f1_training.preflight.checks import Cluster, Deployment, Warehouse
    from f1_training.preflight.report import Finding

#: Key of a task's findings in XCom: they are written also by a task that fails.
FINDINGS = "findings"
NODES: Mapping[Purpose, str] = {Purpose.CHIEF_NODES: "nodes of chiefs", Purpose.WORKER_NODES: "nodes of workers"}


class PreflightChecksOperator(BaseOperator):
    """Checks from Airflow's side whether ``plan`` could be carried out; fails when a check does, after all of them."""

    template_fields: Sequence[str] = ("plan",)

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def execute(self, context: Any) -> list[dict[str, Any]]:
        """Make every check and tell every finding."""
        from f1_training.preflight.checks import checks
        from f1_training.preflight.report import table

        with airflow_errors():
            plan = RunPlan.from_xcom(self.plan)
        findings = []
        for finding in checks(plan, self.deployment(plan)):
            self.log.info("%s", table([finding]))
            findings.append(finding)
        return _told(context, findings)

    def deployment(self, plan: RunPlan) -> Deployment:
        """How a run reaches what it needs."""
        from f1_training.bigquery.client import Warehouse
        from f1_training.kubernetes.client import Cluster
        from f1_training.operators.data import data_warehouse
        from f1_training.preflight.checks import Deployment
        from f1_training.preflight.services import Services

        def cluster() -> Cluster:
            return Cluster.connect(plan.settings.kubernetes_conn_id)

        def warehouse() -> Warehouse:
            return Warehouse.connect(plan.settings)

        return Deployment(
            cluster=cluster,
            warehouse=warehouse,
            connection=_connection,
            manifests=lambda: _manifests(plan),
            data_warehouse=lambda: data_warehouse(plan.settings),
            landed=_landed,
            services=Services(vertex=lambda: _vertex(plan), bill=lambda: _bill(plan)),
        )


class ProbeOperator(JobOperator):
    """Runs ``trainer.probe`` in a pod that is placed, sized and allowed as a chief is, or as a worker.

    Args:
        plan: the run's plan, from task ``plan``.
        nodes: :attr:`Purpose.CHIEF_NODES` or :attr:`Purpose.WORKER_NODES`.
    """

    def __init__(self, *, plan: Any, nodes: Purpose, **kwargs: Any) -> None:
        super().__init__(plan=plan, **kwargs)
        self.purpose = nodes

    def bundle(self, plan: RunPlan, attempt: int) -> Bundle:
        """One Job with one pod."""
        from f1_training.core.specs import probe_spec
        from f1_training.kubernetes.manifests import Bundle, probe_job
        from f1_training.kubernetes.settings import job_settings
        from f1_training.preflight.checks import PROBE_ROWS

        settings = job_settings(plan, self.purpose, attempt)
        # A chief grows no trees: its nodes have no GPU.
        device = plan.device if self.purpose is Purpose.WORKER_NODES else Device.CPU
        job = probe_job(probe_spec(plan, PROBE_ROWS, device), settings, self.purpose)
        return Bundle(main=job, queued=bool(settings.queue))

    def execute(self, context: Any) -> Any:
        """Run the pod; a failure is a finding too."""
        with self._told_if_failed(context):
            return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Tell what the pod found."""
        from f1_training.preflight.report import Finding, Verdict

        with self._told_if_failed(context):
            found = super().execute_complete(context, event)["found"]
        return _told(context, [Finding(check=NODES[self.purpose], verdict=Verdict.PASS, found=found)])

    def result(self, plan: RunPlan, outcome: Outcome, attempt: int) -> dict[str, Any]:  # noqa: ARG002 - the base's
        """What the pod said."""
        return {"found": outcome.message}

    def _decided(self, plan: RunPlan, attempts: Attempts, number: int, outcome: Outcome) -> Decision:  # noqa: ARG002
        assert outcome.reason is not None
        decision = Decision(retry=False, why="a preflight says what it finds")
        attempts.failed(number, outcome.reason, decision)
        return decision

    def what_next(self, plan: RunPlan, outcome: Outcome, decision: Decision) -> str:  # noqa: ARG002 - the base's
        """What a person can do."""
        assert outcome.reason is not None
        return ADVICE[outcome.reason]

    @contextmanager
    def _told_if_failed(self, context: Any) -> Iterator[None]:
        from f1_training.preflight.report import Finding, Verdict

        try:
            yield
        except AirflowException as e:
            reason = getattr(e, "reason", None)
            finding = Finding(
                check=NODES[self.purpose], verdict=Verdict.FAIL, found=str(e), fix=ADVICE[reason] if reason else ""
            )
            context["ti"].xcom_push(key=FINDINGS, value=[encode(finding)])
            raise


class PreflightReportOperator(BaseOperator):
    """Tells all findings in one table, and fails when there is one that should not be.

    Args:
        plan: the run's plan, from task ``plan``.
        steps: what each task before this one is about, by its task id.
        dry_run: id of the task that starts the dry run, and of the run that it starts.
    """

    template_fields: Sequence[str] = ("plan", "dry_run")

    def __init__(self, *, plan: Any, steps: Mapping[str, str], dry_run: tuple[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.steps = dict(steps)
        self.dry_run = dry_run

    def execute(self, context: Any) -> list[dict[str, Any]]:
        """Collect what was found, whatever became of the tasks."""
        from f1_training.preflight.report import table

        ti = context["ti"]
        states = ti.get_task_states(
            dag_id=ti.dag_id, run_ids=[context["dag_run"].run_id], task_ids=[*self.steps, self.dry_run[0]]
        )
        by_task: dict[str, str] = next(iter(states.values()), {})
        findings = [f for task, about in self.steps.items() for f in self._of(ti, task, about, by_task.get(task))]
        findings.append(self._of_dry_run(by_task.get(self.dry_run[0])))
        self._clean()
        self.log.info("findings:\n%s", table(findings))
        return _told(context, findings)

    def _of(self, ti: Any, task: str, about: str, state: str | None) -> list[Finding]:
        from f1_training.preflight.report import Finding, Verdict

        found = ti.xcom_pull(task_ids=task, key=FINDINGS)
        if found:
            return [decode(Finding, value, FINDINGS) for value in found]
        if state == "success":
            return [Finding(check=about, verdict=Verdict.PASS, found="done")]
        if state == "failed":
            return [Finding(check=about, verdict=Verdict.FAIL, found=f"task {task} failed", fix="see its log")]
        return [Finding(check=about, verdict=Verdict.SKIP, found="not tried, as what comes before it failed")]

    def _of_dry_run(self, state: str | None) -> Finding:
        from f1_training.preflight.report import Finding, Verdict

        task, run_id = self.dry_run
        if state == "success":
            return Finding(check="dry run", verdict=Verdict.PASS, found=f"run {run_id} of f1_training is green")
        if state == "failed":
            fix = f"unpause the DAG f1_training if it is paused; otherwise look at its run {run_id}"
            return Finding(check="dry run", verdict=Verdict.FAIL, found=f"task {task} failed", fix=fix)
        return Finding(check="dry run", verdict=Verdict.SKIP, found="not tried, as what comes before it failed")

    def _clean(self) -> None:
        from f1_training.preflight.checks import clean

        if not self.plan:
            return
        try:
            clean(RunPlan.from_xcom(self.plan))
        except TrainingFailure as e:
            self.log.warning("objects that probes made are left: %s", e)


def _told(context: Any, findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Keep ``findings`` for the report, then fail if one of them is a failure."""
    from f1_training.preflight.report import failed

    values = [encode(finding) for finding in findings]
    context["ti"].xcom_push(key=FINDINGS, value=values)
    if wrong := failed(findings):
        raise AirflowFailException(f"{len(wrong)} checks failed: {'; '.join(f'{f.check}: {f.found}' for f in wrong)}")
    return values


def _connection(conn_id: str) -> Any:
    from airflow.sdk import Connection

    return Connection.get(conn_id)


def _landed(uri: str) -> int:
    from datetime import UTC, datetime
    from pathlib import Path

    from f1_training.data.sources import open_source

    # A URI is read where it is: nothing is downloaded to ``scratch``.
    return len(open_source(uri, today=datetime.now(UTC).date(), scratch=Path()).parts)


def _vertex(plan: RunPlan) -> str:
    from f1_training.vertex.client import VertexClient
    from f1_training.vertex.readiness import readiness

    return readiness(VertexClient.connect(plan.settings), plan.settings.vertex, plan.model_type)


def _bill(plan: RunPlan) -> str:
    from datetime import UTC, datetime

    from f1_training.costs.bill import bill, readiness

    return readiness(bill(plan.settings), plan.settings, datetime.now(UTC).date())


def _manifests(plan: RunPlan) -> list[Manifest]:
    from f1_training.core.specs import training_spec
    from f1_training.kubernetes.certificates import Certificates
    from f1_training.kubernetes.manifests import training_bundle
    from f1_training.kubernetes.settings import job_settings
    from trainer.contract import SnapshotRef

    shards = (1,) * plan.entry.logical_shards
    rows = {plan.train_split: shards, plan.validation_split: shards}
    snapshot = SnapshotRef(table=plan.training_table, logical_shards=plan.entry.logical_shards, rows=rows)
    none = Certificates(ca="", certificate="", key="")  # only the objects are counted
    made = training_bundle(training_spec(plan, snapshot, 1), job_settings(plan, Purpose.TRAIN, 1), none)
    return [made.main, *made.owned]
