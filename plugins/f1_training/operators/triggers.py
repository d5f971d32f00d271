"""Follow a job from the triggerer. Installed as a package: Composer does not give ``plugins/`` to triggerers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from f1_training.kubernetes.names import AttemptRef
from trainer.contract import FailureReason, Outcome, TrainingFailure
from trainer.contract.fields import decode, encode

if TYPE_CHECKING:
    from f1_training.kubernetes.status import JobStatus

#: Airflow 3.3.1 fails a task that is resumed before the scheduler has seen the end of the process that deferred it
#: ("finished with state success, but the task instance's state attribute is running"), so a job that ends sooner waits.
RESUME_AFTER_S = 10.0
#: Task states after which nobody will ask for the job any more.
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


def make_event(attempt: int, status: JobStatus) -> dict[str, Any]:
    """How an attempt ended, as the payload of a trigger's event."""
    assert status.outcome is not None
    return {"attempt": attempt, "outcome": status.outcome.to_json(), "evidence": list(status.evidence)}


def read_event(event: dict[str, Any]) -> tuple[int, Outcome, list[str]]:
    """What :func:`make_event` made: attempt, outcome, evidence."""
    return int(event["attempt"]), Outcome.from_json(event["outcome"]), list(event["evidence"])


class JobTrigger(BaseTrigger):
    """Copies the job's log lines into the task's log until the job has ended, then says how.

    Args:
        conn_id: Airflow's connection to the cluster.
        ref: the attempt; a mapping of its fields when the trigger is made again from what was stored.
        poll_interval_s: time between two looks.
        grace_s: how long pods may wait for a node.
        said_until: time of the last log line that the task has copied already.
    """

    def __init__(
        self,
        *,
        conn_id: str,
        ref: AttemptRef | dict[str, Any],
        poll_interval_s: float,
        grace_s: float,
        said_until: str = "",
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.ref = decode(AttemptRef, ref, "ref") if isinstance(ref, dict) else ref
        self.poll_interval_s = poll_interval_s
        self.grace_s = grace_s
        self.said_until = said_until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, for the triggerer to make it again."""
        arguments = {
            "conn_id": self.conn_id,
            "ref": encode(self.ref),
            "poll_interval_s": self.poll_interval_s,
            "grace_s": self.grace_s,
            "said_until": self.said_until,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Follow the job; the one event says how it ended. Calls to the API wait in threads."""
        from f1_training.kubernetes.follow import failed_look

        resume_at = time.monotonic() + RESUME_AFTER_S
        try:
            status = await self._followed()
        except TrainingFailure as e:
            status = failed_look(self.ref.job_id, e)
        except Exception as e:
            # Without an event the task would fail without cleaning up, and the job would go on unseen.
            self.log.exception("following Job %s failed", self.ref.job)
            message = f"following the job failed: {type(e).__name__}: {e}"
            status = failed_look(self.ref.job_id, TrainingFailure(FailureReason.BUG, message))
        await asyncio.sleep(max(0.0, resume_at - time.monotonic()))
        yield TriggerEvent(make_event(self.ref.attempt, status))

    async def _followed(self) -> JobStatus:
        from f1_training.kubernetes.client import Cluster
        from f1_training.kubernetes.follow import JobFollower

        cluster = await asyncio.to_thread(Cluster.connect, self.conn_id)
        follower = JobFollower(cluster=cluster, ref=self.ref, grace_s=self.grace_s, said_until=self.said_until)
        while True:
            look = await asyncio.to_thread(follower.look)
            for line in look.lines:
                self.log.log(logging.getLevelNamesMapping().get(line.severity, logging.INFO), "%s", line.text)
            if look.status.ended:
                return look.status
            await asyncio.sleep(self.poll_interval_s)

    async def on_kill(self) -> None:
        """Somebody acted on the task. Delete the job only if the task has ended.

        This is also called when a stalled triggerer's triggers move, and for a task that is cleared: then the task
        goes on, here or in another try, and adopts the job.
        """
        from f1_training.kubernetes.client import Cluster

        state = await asyncio.to_thread(self._task_state)
        if state not in ENDED:
            self.log.info("Job %s is left alone: its task is %s", self.ref.job, state or "to run again")
            return
        self.log.info("the task is %s: deleting Job %s", state, self.ref.job)
        cluster = await asyncio.to_thread(Cluster.connect, self.conn_id)
        await asyncio.to_thread(cluster.delete, self.ref.namespace, self.ref.job)

    def _task_state(self) -> str | None:
        """The task's state as the API server has it; None when it has none or is not known."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        task = self.task_instance
        if task is None:
            return None
        states = RuntimeTaskInstance.get_task_states(
            dag_id=task.dag_id, task_ids=[task.task_id], run_ids=[task.run_id], map_index=task.map_index
        )
        found = list((states.get(task.run_id) or {}).values())
        return str(found[0]) if found and found[0] is not None else None
