"""A job in Kubernetes as an Airflow task: attempts, adoption, following, cleaning up, whatever the job is."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from f1_training.core.failures import ADVICE, Disposition, airflow_errors, described, disposition
from f1_training.core.plan import RunPlan
from f1_training.kubernetes.names import AttemptRef, Purpose, attempt_ref
from f1_training.operators.attempts import Attempts, AttemptState
from trainer.contract import Outcome, TrainingFailure

if TYPE_CHECKING:
    from f1_training.kubernetes.client import Cluster
    from f1_training.kubernetes.follow import JobFollower
    from f1_training.kubernetes.manifests import Bundle
    from f1_training.kubernetes.status import JobStatus


class JobOperator(BaseOperator):
    """Base of the operators that run a job in Kubernetes.

    Names of objects follow from the run and the attempt. A task whose Airflow process died adopts the job that it left
    running; after a failed attempt the next one starts. Whatever happens, an attempt that has ended is deleted.

    Args:
        plan: the run's plan, from task ``plan``.
        deferrable: hand a job that is not over within the setting ``defer_after_s`` to the triggerer, so that it holds
            no worker (the default); otherwise follow it in this process to its end.
    """

    purpose: ClassVar[Purpose]
    template_fields: Sequence[str] = ("plan",)

    def __init__(self, *, plan: Any, deferrable: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.deferrable = deferrable
        self._live: tuple[Cluster, AttemptRef] | None = None

    def bundle(self, plan: RunPlan, attempt: int) -> Bundle:
        """The objects of attempt ``attempt``."""
        raise NotImplementedError

    def result(self, plan: RunPlan, outcome: Outcome, attempt: int) -> dict[str, Any]:
        """What a job that succeeded made, for the tasks that follow."""
        raise NotImplementedError

    def what_next(self, plan: RunPlan, outcome: Outcome) -> str:
        """What a person can do after a failure."""
        assert outcome.reason is not None
        advice = ADVICE[outcome.reason]
        if disposition(outcome.reason) is Disposition.FAIL:
            return advice
        return f"start the run again with the same run id ({plan.run_id}); {advice}"

    def execute(self, context: Any) -> dict[str, Any]:
        """Start the job, or adopt it, and follow it to its end."""
        with airflow_errors():
            plan = RunPlan.from_xcom(self.plan)
            cluster = self.connect(plan)
            attempt = self._attempt(cluster, plan, Attempts(context["task_state_store"]))
            bundle = self.bundle(plan, attempt)
            ref = self._ref(plan, attempt)
            self._live = (cluster, ref)
            cluster.submit(bundle)
            self.log.info("attempt %s: Job %s/%s", attempt, ref.namespace, ref.job)
        return self.execute_complete(context, self._follow(cluster, plan, ref))

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        """Turn how the job ended into this task's result or failure, and delete what is left of it."""
        from f1_training.operators.triggers import read_event

        attempts = Attempts(context["task_state_store"])
        with airflow_errors():
            plan = RunPlan.from_xcom(self.plan)
            attempt, outcome, evidence = read_event(event)
            ref = self._ref(plan, attempt)
            if outcome.reason is None:
                result = self.result(plan, outcome, attempt)
                attempts.end(attempt, AttemptState.SUCCEEDED)
                self._delete(plan, ref)
                return result
            attempts.end(attempt, AttemptState.FAILED)
            self._delete(plan, ref)
            raise self._failure(plan, attempt, outcome, evidence)

    def on_kill(self) -> None:
        """The task is killed: so is its job."""
        if self._live is not None:
            cluster, ref = self._live
            cluster.delete(ref.namespace, ref.job)

    def connect(self, plan: RunPlan) -> Cluster:
        """The cluster that jobs run in."""
        from f1_training.kubernetes.client import Cluster

        return Cluster.connect(plan.settings.kubernetes_conn_id)

    def _attempt(self, cluster: Cluster, plan: RunPlan, attempts: Attempts) -> int:
        newest = attempts.newest()
        if newest is None or newest.state is not AttemptState.RUNNING:
            return attempts.begin_next()
        from f1_training.kubernetes.status import Phase

        ref = self._ref(plan, newest.number)
        status = self._status(cluster, plan, ref)
        if status.phase is not Phase.FAILED:
            self.log.info("attempt %s is %s: adopting it", newest.number, status.phase.value)
            return attempts.begin(newest.number)
        assert status.outcome is not None
        why = status.outcome.message
        self.log.warning("attempt %s ended while nobody followed it: %s", newest.number, why)
        cluster.delete(ref.namespace, ref.job)
        return attempts.begin_next()

    def _status(self, cluster: Cluster, plan: RunPlan, ref: AttemptRef) -> JobStatus:
        from f1_training.kubernetes.status import job_status

        grace_s = plan.settings.scale_up_grace_s
        return job_status(cluster.observe(ref), plan.job_id, datetime.now(UTC), grace_s)

    def _ref(self, plan: RunPlan, attempt: int) -> AttemptRef:
        return attempt_ref(plan.job_id, self.purpose, attempt, plan.settings.namespace, plan.num_workers)

    def _defer(self, plan: RunPlan, ref: AttemptRef, said_until: str) -> None:
        from f1_training.operators.triggers import JobTrigger

        trigger = JobTrigger(
            conn_id=plan.settings.kubernetes_conn_id,
            ref=ref,
            poll_interval_s=plan.settings.poll_interval_s,
            grace_s=plan.settings.scale_up_grace_s,
            said_until=said_until,
        )
        self.defer(trigger=trigger, method_name="execute_complete")

    def _follow(self, cluster: Cluster, plan: RunPlan, ref: AttemptRef) -> dict[str, Any]:
        from f1_training.kubernetes.follow import JobFollower
        from f1_training.operators.triggers import make_event

        follower = JobFollower(cluster=cluster, ref=ref, grace_s=plan.settings.scale_up_grace_s)
        began = time.monotonic()
        while True:
            status = self._look(follower, ref)
            if status.ended:
                return make_event(ref.attempt, status)
            if self.deferrable and time.monotonic() - began >= plan.settings.defer_after_s:
                self._defer(plan, ref, follower.said_until)
            time.sleep(plan.settings.poll_interval_s)

    def _look(self, follower: JobFollower, ref: AttemptRef) -> JobStatus:
        from f1_training.kubernetes.follow import failed_look

        try:
            look = follower.look()
        except TrainingFailure as e:
            return failed_look(ref.job_id, e)
        for line in look.lines:
            self.log.log(logging.getLevelNamesMapping().get(line.severity, logging.INFO), "%s", line.text)
        return look.status

    def _delete(self, plan: RunPlan, ref: AttemptRef) -> None:
        try:
            self.connect(plan).delete(ref.namespace, ref.job)
        except TrainingFailure as e:
            # How the job ended counts; what is left of it goes by its time to live.
            self.log.warning("could not delete Job %s/%s: %s", ref.namespace, ref.job, e)

    def _failure(self, plan: RunPlan, attempt: int, outcome: Outcome, evidence: Sequence[str]) -> TrainingFailure:
        assert outcome.reason is not None
        next_step = self.what_next(plan, outcome)
        failure = TrainingFailure(outcome.reason, f"{outcome.message}; {next_step}")
        self.log.error("attempt %s failed: %s", attempt, described(TrainingFailure(outcome.reason, outcome.message)))
        for line in evidence:
            self.log.error("evidence: %s", line)
        self.log.error("what to do: %s", next_step)
        return failure
