"""Follow one attempt: its status and the new lines of its log, a look at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from f1_training.core.chief_log import ChiefLogReader, LogLine
from f1_training.kubernetes.names import COMPONENT, AttemptRef
from f1_training.kubernetes.podspec import MAIN_ROLES
from f1_training.kubernetes.scheduling import silent_pods
from f1_training.kubernetes.status import JobStatus, Observed, Phase, job_status
from trainer.contract import FailureReason, Outcome, TrainingFailure

#: An API server that is upgraded is away for minutes, and the job goes on without it.
API_GRACE_S = 600.0
#: The evidence where the API itself decided, not the job: that goes on, and is adopted by the next try.
OF_THE_API = "the Kubernetes API"
#: Looks overlap by this much, so that no line is missed when clocks differ; what was seen is not said again.
OVERLAP_S = 5


class Watched(Protocol):
    """What following asks of a cluster; :class:`f1_training.kubernetes.client.Cluster` is one."""

    def observe(self, ref: AttemptRef) -> Observed:
        """The attempt's objects as they are now."""

    def remove_silent(self, namespace: str, pod: Any) -> None:
        """Delete a pod whose kubelet does not answer."""

    def log_lines(self, namespace: str, pod: str, since_s: int | None = None) -> list[tuple[str, str]]:
        """Lines of a pod's log with their times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What one look found: what is new to say, and where the job is."""

    lines: tuple[LogLine, ...]
    status: JobStatus


@dataclass(kw_only=True)
class JobFollower:
    """Follows the attempt ``ref``. ``grace_s`` is how long its pods may wait for a node.

    ``said_until`` is the time of the last line that was said: another follower goes on from there.
    """

    cluster: Watched
    ref: AttemptRef
    grace_s: float
    said_until: str = ""
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _reader: ChiefLogReader = field(default_factory=ChiefLogReader)
    _said_then: set[str] = field(default_factory=set)
    _said_of_pods: set[str] = field(default_factory=set)
    _last_at: float | None = None
    _waiting_for: str = ""
    _silent_since: float | None = None

    def look(self) -> Look:
        """One look. An API that is away for a while is waited for.

        Raises:
            TrainingFailure: what the API refused for good, or that it is away for longer than ten minutes.
        """
        try:
            observed = self.cluster.observe(self.ref)
            lines = self._new_lines(observed)
            lines += self._remove_silent(observed)
        except TrainingFailure as e:
            return self._unanswered(e)
        self._silent_since = None
        status = job_status(observed, self.ref.job_id, self.now(), self.grace_s)
        if status.waiting_for != self._waiting_for:
            self._waiting_for = status.waiting_for
            if status.waiting_for:
                lines.append(LogLine(text=f"waiting for {status.waiting_for}"))
        return Look(lines=tuple(lines), status=status)

    def _remove_silent(self, observed: Observed) -> list[LogLine]:
        lines = []
        for pod in silent_pods(observed.pods, self.now()):
            name = pod["metadata"]["name"]
            text = f"the node of {name} does not answer: removing the pod, so that it is replaced"
            try:
                self.cluster.remove_silent(self.ref.namespace, pod)
            except TrainingFailure as e:
                # The cluster does it too, minutes later; that is no reason to stop following.
                text = f"the node of {name} does not answer, and the pod could not be removed: {e}"
            if text not in self._said_of_pods:
                self._said_of_pods.add(text)
                lines.append(LogLine(text=text, severity="WARNING"))
        return lines

    def _unanswered(self, failure: TrainingFailure) -> Look:
        began = self._silent_since if self._silent_since is not None else self.clock()
        if failure.reason is not FailureReason.NETWORK_TIMEOUT or self.clock() - began > API_GRACE_S:
            raise failure
        lines = () if self._silent_since is not None else (LogLine(text=str(failure), severity="WARNING"),)
        self._silent_since = began
        return Look(lines=lines, status=JobStatus(phase=Phase.RUNNING, waiting_for="the API server"))

    def _new_lines(self, observed: Observed) -> list[LogLine]:
        pods = [p for p in observed.pods if _follows(p)]
        if not pods:
            return []
        at = self.clock()
        since_s = None if self._last_at is None else int(at - self._last_at) + OVERLAP_S
        found = self.cluster.log_lines(self.ref.namespace, pods[0]["metadata"]["name"], since_s)
        self._last_at = at
        read = [self._reader.read(line) for stamp, line in found if self._is_new(_padded(stamp), line)]
        return [line for line in read if line is not None]

    def _is_new(self, stamp: str, line: str) -> bool:
        if stamp < self.said_until or (stamp == self.said_until and line in self._said_then):
            return False
        if stamp > self.said_until:
            self.said_until, self._said_then = stamp, set()
        self._said_then.add(line)
        return True


def _follows(pod: Any) -> bool:
    component = (pod["metadata"].get("labels") or {}).get(COMPONENT)
    return component in MAIN_ROLES


def _padded(stamp: str) -> str:
    """RFC 3339 with nine digits of a second, so that sorted as text it is sorted by time: kubelets cut zeros off."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return f"{whole}.{fraction:0<9}"


def failed_look(job_id: str, failure: TrainingFailure) -> JobStatus:
    """The status when the API itself decided: it refused, or is away."""
    outcome = Outcome(job_id=job_id, reason=failure.reason, message=str(failure))
    return JobStatus(phase=Phase.FAILED, outcome=outcome, evidence=(OF_THE_API,))
