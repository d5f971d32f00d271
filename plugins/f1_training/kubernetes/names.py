"""Names and labels of an attempt's objects. They follow from run and attempt: "already exists" means "adopt it"."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Self

from trainer.contract.fields import require

JOB_ID, PURPOSE, ATTEMPT = "f1-training/job-id", "f1-training/purpose", "f1-training/attempt"
#: What costs are told apart by; ``include/sql/costs/spent.sql`` knows them, too.
MODEL_TYPE, BUDGET = "f1-training/model-type", "f1-training/budget"
COMPONENT = "app.kubernetes.io/component"
NAME, MANAGED_BY = "app.kubernetes.io/name", "app.kubernetes.io/managed-by"
#: Selects every object that this package made.
OURS = f"{NAME}=f1-training,{MANAGED_BY}=airflow"
SPEC_SHA256 = "f1-training/spec-sha256"
#: Which DAG run a main Job belongs to; annotations, as run ids are no label values.
DAG_ID, RUN_ID = "f1-training/dag-id", "f1-training/run-id"
#: A name of a pod is made of the Job's, an index and five more characters, and must fit into 63.
LONGEST_NAME = 55


class Purpose(enum.StrEnum):
    """What an attempt is at."""

    TRAIN = "train"
    EVALUATE = "eval"
    #: Preflight of the nodes that chiefs, and those that workers run on.
    CHIEF_NODES = "pf-c"
    WORKER_NODES = "pf-w"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobNames:
    """Names of an attempt's objects, each in namespace ``namespace``."""

    base: str
    namespace: str

    def __post_init__(self) -> None:
        require(len(self.chief) <= LONGEST_NAME, "base", f"{self.base!r} is too long for names of pods")

    @classmethod
    def of(cls, job_id: str, purpose: Purpose, attempt: int, namespace: str) -> Self:
        """The names of attempt ``attempt``."""
        suffix = f"{attempt}" if purpose is Purpose.TRAIN else f"{purpose.value}-{attempt}"
        return cls(base=f"{job_id}-{suffix}", namespace=namespace)

    @property
    def chief(self) -> str:
        """The chief's Job; deleting it deletes the rest."""
        return f"{self.base}-chief"

    @property
    def workers(self) -> str:
        """The Indexed Job of all workers."""
        return f"{self.base}-work"

    @property
    def service(self) -> str:
        """The headless Service that workers find the chief by."""
        return self.base

    @property
    def secret(self) -> str:
        """The certificates."""
        return f"{self.base}-tls"

    @property
    def service_host(self) -> str:
        """The chief's DNS name in the cluster."""
        return f"{self.service}.{self.namespace}.svc"

    def dns_names(self) -> tuple[str, ...]:
        """Every DNS name of the Service."""
        within = f"{self.service}.{self.namespace}"
        return (self.service_host, f"{self.service_host}.cluster.local", within, self.service)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRef:
    """What finds an attempt's objects again: its main Job, its workers' Job ("" for none) and its labels."""

    namespace: str
    job: str
    job_id: str
    attempt: int
    purpose: Purpose
    worker_job: str = ""

    @property
    def selector(self) -> str:
        """The labels of all its pods."""
        return f"{JOB_ID}={self.job_id},{PURPOSE}={self.purpose},{ATTEMPT}={self.attempt}"


def attempt_ref(job_id: str, purpose: Purpose, attempt: int, namespace: str, num_workers: int) -> AttemptRef:
    """The reference of attempt ``attempt``."""
    names = JobNames.of(job_id, purpose, attempt, namespace)
    training = purpose is Purpose.TRAIN
    return AttemptRef(
        namespace=namespace,
        job=names.chief if training else names.base,
        job_id=job_id,
        attempt=attempt,
        worker_job=names.workers if training and num_workers > 1 else "",
        purpose=purpose,
    )
