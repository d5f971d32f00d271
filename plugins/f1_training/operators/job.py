"""A job in Kubernetes as an Airflow task: attempts, adoption, following, cleaning up, whatever the job is."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from f1_training.core.failures import ADVICE, AttemptFailure, airflow_errors, described
from f1_training.core.plan import RunPlan
from f1_training.core.retry import RULES, Decision, Size, decide
from f1_training.kubernetes.names import AttemptRef, Purpose, attempt_ref
from f1_training.operators.attempts import Attempt, Attempts, AttemptState
from f1_training.operators.metrics import report_queued
from trainer.contract import FailureReason, Outcome, TrainingFailure

if TYPE_CHECKING:
    from f1_training.kubernetes.client import Cluster
    from f1_training.kubernetes.follow import JobFollower
    from f1_training.kubernetes.manifests import Bundle
    from f1_training.kubernetes.status import JobStatus

log = logging.getLogger(__name__)


class JobOperator(BaseOperator):
    """Base of the operators that run a job in Kubernetes.

    Names of objects follow from the run and the attempt. A task whose Airflow process died adopts the job that it left
    running; after a failed attempt the next one starts, on what :mod:`f1_training.core.retry` decided. Whatever
    happens, an attempt that has ended is deleted.

    Args:
        plan: the run's plan, from task ``plan``.
        deferrable: hand a job that is not over within the setting ``defer_after_s`` to the triggerer, so that it holds
            no worker (the default); otherwise follow it in this process to its end.
    """

    purpose: Purpose
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

    def what_next(self, plan: RunPlan, outcome: Outcome, decision: Decision) -> str:
        """What happens after a failure, or what a person can do."""
        assert outcome.reason is not None
        if decision.retry:
            return decision.text
        advice = ADVICE[outcome.reason]
        if not RULES[outcome.reason].retried:
            return advice
        return f"{decision.why}; start the run again with the same run id ({plan.run_id}); {advice}"

    def execute(self, context: Any) -> dict[str, Any]:
        """Start the job, or adopt it, and follow it to its end."""
        with airflow_errors():
            plan = RunPlan.from_xcom(self.plan)
            cluster = self.connect(plan)
            attempt = self._attempt(cluster, plan, Attempts(context["task_state_store"]))
            plan = _sized(plan, attempt)
            bundle = self.bundle(plan, attempt.number)
            ref = self._ref(plan, attempt.number)
            require_room(cluster, bundle)
            self._live = (cluster, ref)
            cluster.submit(bundle)
            report_queued(plan.settings, cluster)
            self.log.info("attempt %s: Job %s/%s", attempt.number, ref.namespace, ref.job)
        return self.execute_complete(context, self._follow(cluster, plan, ref))

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        """Turn how the job ended into this task's result or failure, and delete what is left of it."""
        from f1_training.kubernetes.follow import OF_THE_API
        from f1_training.operators.triggers import read_event

        attempts = Attempts(context["task_state_store"])
        with airflow_errors():
            plan = RunPlan.from_xcom(self.plan)
            number, outcome, evidence = read_event(event)
            plan = _sized(plan, attempts.of(number))
            ref = self._ref(plan, number)
            if outcome.reason is None:
                result = self.result(plan, outcome, number)
                attempts.succeeded(number)
                self._delete(plan, ref)
                return result
            if outcome.reason is FailureReason.NETWORK_TIMEOUT and OF_THE_API in evidence:
                raise TrainingFailure(outcome.reason, f"{outcome.message}; the job goes on, and the next try adopts it")
            decision = self._decided(plan, attempts, number, outcome)
            self._delete(plan, ref)
            raise self._failure(plan, number, outcome, evidence, decision)

    def on_kill(self) -> None:
        """The task is killed: so is its job."""
        if self._live is not None:
            cluster, ref = self._live
            cluster.delete(ref.namespace, ref.job)

    def connect(self, plan: RunPlan) -> Cluster:
        """The cluster that jobs run in."""
        from f1_training.kubernetes.client import Cluster

        return Cluster.connect(plan.settings.kubernetes_conn_id)

    def _attempt(self, cluster: Cluster, plan: RunPlan, attempts: Attempts) -> Attempt:
        """The attempt that goes on, or the next one.

        Raises:
            AttemptFailure: the newest ended while nobody followed it, and there is no retry.
        """
        from f1_training.kubernetes.status import Phase, job_status

        newest, planned = attempts.newest(), _size(plan)
        if newest is None or newest.state is not AttemptState.RUNNING:
            return attempts.begin_next(planned)
        ref = self._ref(_sized(plan, newest), newest.number)
        observed = cluster.observe(ref)
        status = job_status(observed, plan.job_id, datetime.now(UTC), plan.settings.scale_up_grace_s)
        if status.phase is not Phase.FAILED:
            self.log.info("attempt %s is %s: adopting it", newest.number, status.phase.value)
            return newest
        assert status.outcome is not None
        outcome = status.outcome
        self.log.warning("attempt %s ended while nobody followed it: %s", newest.number, outcome.message)
        cluster.delete(ref.namespace, ref.job)
        if observed.job is None:
            # Nothing was started yet, or somebody has deleted it: that spends no budget.
            attempts.failed(newest.number)
            return attempts.begin_next(newest.size or planned)
        decision = self._decided(plan, attempts, newest.number, outcome)
        if not decision.retry:
            raise self._failure(plan, newest.number, outcome, status.evidence, decision)
        self.log.info("decision: %s", decision.text)
        return attempts.begin_next(planned)

    def _decided(self, plan: RunPlan, attempts: Attempts, number: int, outcome: Outcome) -> Decision:
        """What follows from the failure of attempt ``number``, written down."""
        assert outcome.reason is not None
        known = attempts.of(number)
        if known is not None and known.decision is not None:
            return known.decision  # decided before, by a process that was killed before it could say so
        size = known.size if known is not None and known.size is not None else _size(plan)
        decision = decide(outcome.reason, attempts.earlier_reasons(), plan.settings.retry, size)
        attempts.failed(number, outcome.reason, decision)
        return decision

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

    def _failure(
        self, plan: RunPlan, attempt: int, outcome: Outcome, evidence: Sequence[str], decision: Decision
    ) -> AttemptFailure:
        assert outcome.reason is not None
        next_step = self.what_next(plan, outcome, decision)
        failure = AttemptFailure(outcome.reason, f"{outcome.message}; {next_step}", decision)
        self.log.error("attempt %s failed: %s", attempt, described(TrainingFailure(outcome.reason, outcome.message)))
        for line in evidence:
            self.log.error("evidence: %s", line)
        self.log.error("decision: %s", decision.text)
        if not decision.retry:
            self.log.error("what to do: %s", next_step)
        return failure


def require_room(cluster: Cluster, bundle: Bundle) -> None:
    """Refuse a job for which the namespace has no room even when it is empty: its pods would wait for ever.

    Raises:
        TrainingFailure: ``ConfigInvalid`` naming the quota, what is asked for and what is allowed.
    """
    from f1_training.kubernetes.quota import shortfalls, wanted

    try:
        quotas = cluster.quotas(bundle.namespace)
    except TrainingFailure as e:
        if e.reason is not FailureReason.PERMISSION_DENIED:
            raise
        log.warning("quota not looked at before the start: %s", e)
        return
    if missing := shortfalls(quotas, wanted((bundle.main, *bundle.owned)), free=False):
        fix = "take fewer workers or a smaller machine type, or raise the quota"
        raise TrainingFailure(
            FailureReason.CONFIG_INVALID, f"namespace {bundle.namespace}, {'; '.join(missing)}; {fix}"
        )


def _size(plan: RunPlan) -> Size:
    return Size(num_workers=plan.num_workers, resources=plan.entry.resources)


def _sized(plan: RunPlan, attempt: Attempt | None) -> RunPlan:
    """``plan`` for what ``attempt`` runs on."""
    if attempt is None or attempt.size is None:
        return plan
    size = attempt.size
    return replace(plan, num_workers=size.num_workers, entry=replace(plan.entry, resources=size.resources))
