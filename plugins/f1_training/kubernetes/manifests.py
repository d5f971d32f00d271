"""The Kubernetes objects of a job: pure functions from what is wanted to manifests.

An attempt of distributed training is a chief Job, and owned by it a headless Service, a Secret with certificates and an
Indexed worker Job; deleting the chief Job deletes them all. One worker needs no network: then the chief Job is all.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from f1_training.kubernetes import podspec
from f1_training.kubernetes.certificates import Certificates
from f1_training.kubernetes.names import (
    ATTEMPT,
    BUDGET,
    COMPONENT,
    DAG_ID,
    JOB_ID,
    MANAGED_BY,
    MODEL_TYPE,
    NAME,
    PURPOSE,
    RUN_ID,
    SPEC_SHA256,
    Purpose,
)
from f1_training.kubernetes.podspec import CHIEF_PORT, Placement, Role
from f1_training.kubernetes.settings import JobSettings
from trainer.contract import EXIT_CODES, EvaluationSpec, FailureReason, TrainingSpec
from trainer.contract.probe import ProbeSpec
from trainer.contract.resources import Resources

Manifest = dict[str, Any]

QUEUE = "kueue.x-k8s.io/queue-name"
BACKOFF_PER_INDEX = 3
#: Exit codes that no other try of the same pod will change.
FINAL_EXIT_CODES = sorted(
    EXIT_CODES[r] for r in (FailureReason.DATA_INVALID, FailureReason.PERMISSION_DENIED, FailureReason.CONFIG_INVALID)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """All objects of one attempt. ``main`` is created first, suspended; ``owned`` is deleted with it."""

    main: Manifest
    owned: tuple[Manifest, ...] = ()
    queued: bool = False

    @property
    def name(self) -> str:
        """Name of the main Job."""
        return str(self.main["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Where the objects live."""
        return str(self.main["metadata"]["namespace"])


def training_bundle(spec: TrainingSpec, settings: JobSettings, certificates: Certificates | None) -> Bundle:
    """An attempt at training; ``certificates`` may be None only for a single worker."""
    main = chief_job(spec, settings)
    queued = bool(settings.queue)
    if spec.num_workers == 1:
        return Bundle(main=main, queued=queued)
    if certificates is None:
        raise ValueError("several workers need certificates")
    owned = (service(spec, settings), tls_secret(spec, settings, certificates), worker_job(spec, settings))
    return Bundle(main=main, owned=owned, queued=queued)


def chief_job(spec: TrainingSpec, settings: JobSettings) -> Manifest:
    """The chief's Job, suspended: it is resumed once what it needs is there. With one worker it trains by itself."""
    alone = spec.num_workers == 1
    container = podspec.Container(
        role=Role.CHIEF,
        image=settings.image,
        module="trainer.chief",
        resources=settings.worker_resources if alone else settings.chief_resources,
        environment={
            "TRAINING_JOB_ID": spec.job_id,
            "TOTAL_WORKERS": str(spec.num_workers),
            "TRAINING_CHIEF_PORT": str(CHIEF_PORT),
            "TRAINING_DATA_SPLIT": spec.train_split,
            "TRAINING_SPEC": spec.to_json(),
        },
        tls=not alone,
        probed=True,
        gpu=alone and spec.device != "cpu",
    )
    # Never on Spot, also when it trains alone: what a chief loses nobody replaces.
    selector = settings.worker_node_selector if alone else settings.chief_node_selector
    metadata = _metadata(spec, settings, Role.CHIEF, settings.names.chief)
    return _main_job(container, settings, _main_placement(selector, settings, container), metadata)


def evaluation_job(spec: EvaluationSpec, settings: JobSettings) -> Manifest:
    """The Job that scores a model, suspended like the chief's."""
    container = podspec.Container(
        role=Role.EVALUATE,
        image=settings.evaluator_image,
        module="trainer.evaluate",
        resources=settings.worker_resources,
        environment={
            "TRAINING_JOB_ID": spec.job_id,
            "TRAINING_DATA_SPLIT": spec.split,
            "EVALUATION_SPEC": spec.to_json(),
        },
    )
    metadata = _metadata(spec, settings, Role.EVALUATE, settings.names.base, Purpose.EVALUATE)
    # It needs the machine that the model trains on; which of the pools has that type, the workers' labels say.
    placement = _main_placement(settings.worker_node_selector, settings, container)
    return _main_job(container, settings, placement, metadata)


def probe_job(spec: ProbeSpec, settings: JobSettings, purpose: Purpose) -> Manifest:
    """The Job that tries what training needs, on the nodes of chiefs or, as ``purpose`` says, on those of workers."""
    of_workers = purpose is Purpose.WORKER_NODES
    container = podspec.Container(
        role=Role.PROBE,
        image=settings.image,
        module="trainer.probe",
        resources=settings.worker_resources if of_workers else settings.chief_resources,
        environment={"TRAINING_JOB_ID": spec.job_id, "PROBE_SPEC": spec.to_json()},
        gpu=of_workers and spec.device != "cpu",
    )
    metadata = _metadata(spec, settings, Role.PROBE, settings.names.base, purpose)
    if of_workers:
        placement = _worker_placement(settings, container, metadata)
    else:
        placement = _main_placement(settings.chief_node_selector, settings, container)
    return _main_job(container, settings, placement, metadata)


def worker_job(spec: TrainingSpec, settings: JobSettings) -> Manifest:
    """All workers: index i is worker i, whichever pod serves it.

    A preempted worker is replaced for free, a failed one three times; invalid data, configuration or permissions fail
    the Job at once, as does losing half of the workers for good.
    """
    count = spec.num_workers
    container = podspec.Container(
        role=Role.WORKER,
        image=settings.image,
        module="trainer.worker",
        resources=settings.worker_resources,
        environment={
            "TRAINING_JOB_ID": spec.job_id,
            "TOTAL_WORKERS": str(count),
            "TRAINING_CHIEF_ADDRESS": f"{settings.names.service_host}:{CHIEF_PORT}",
            "TRAINING_CHIEF_WAIT_S": str(round(spec.limits.worker_start_s)),
            "TRAINING_RECONNECT_S": str(round(spec.limits.partition_s)),
            "TRAINING_DATA_SPLIT": spec.train_split,
        },
        tls=True,
        probed=True,
        gpu=spec.device != "cpu",
    )
    metadata = _metadata(spec, settings, Role.WORKER, settings.names.workers)
    placement = _worker_placement(settings, container, metadata)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "completionMode": "Indexed",
            "completions": count,
            "parallelism": count,
            "backoffLimitPerIndex": BACKOFF_PER_INDEX,
            "maxFailedIndexes": (count + 1) // 2 - 1,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": [_on_disruption("Ignore"), _fail_at_once(container.role)]},
            "activeDeadlineSeconds": settings.deadline_s,
            "template": _template(metadata, podspec.pod_spec(container, settings, placement)),
        },
    }


def service(spec: TrainingSpec, settings: JobSettings) -> Manifest:
    """The headless Service by which workers find the chief, also before it is ready."""
    metadata = _metadata(spec, settings, Role.CHIEF, settings.names.service)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": _selecting(metadata["labels"]),
            "ports": [{"name": "scheduler", "port": CHIEF_PORT, "targetPort": CHIEF_PORT, "protocol": "TCP"}],
        },
    }


def tls_secret(spec: TrainingSpec, settings: JobSettings, certificates: Certificates) -> Manifest:
    """The attempt's certificates, mounted at ``/etc/f1-training/tls``."""
    files = {"ca.crt": certificates.ca, "tls.crt": certificates.certificate, "tls.key": certificates.key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "immutable": True,
        "metadata": _metadata(spec, settings, Role.CHIEF, settings.names.secret),
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in files.items()},
    }


def with_owner(manifest: Manifest, owner: str, uid: str) -> Manifest:
    """``manifest`` owned by the Job ``owner``; it is gone before its owner is, when that is deleted in foreground."""
    reference = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": owner,
        "uid": uid,
        # Not its controller: Kueue would leave a Job whose controller is queued suspended for good.
        "controller": False,
        "blockOwnerDeletion": True,
    }
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [reference]}}


def _main_job(
    container: podspec.Container, settings: JobSettings, placement: Placement, metadata: Manifest
) -> Manifest:
    of_run = {DAG_ID: settings.dag_id, RUN_ID: settings.run_id}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**metadata, "annotations": {**metadata["annotations"], **of_run}},
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            # One pod, never another: the rule only makes the Job say that the pod was taken away, and did not fail.
            "podFailurePolicy": {"rules": [_on_disruption("FailJob")]},
            "activeDeadlineSeconds": settings.deadline_s,
            "ttlSecondsAfterFinished": settings.ttl_s,
            "template": _template(metadata, podspec.pod_spec(container, settings, placement)),
        },
    }


def _main_placement(selector: Mapping[str, str], settings: JobSettings, container: podspec.Container) -> Placement:
    return Placement(
        node_selector=_selector(selector, settings, container.resources), priority_class=settings.chief_priority_class
    )


def _worker_placement(settings: JobSettings, container: podspec.Container, metadata: Manifest) -> Placement:
    return Placement(
        node_selector=_selector(settings.worker_node_selector, settings, container.resources),
        spot=settings.worker_spot,
        priority_class=settings.worker_priority_class,
        spread=_selecting(metadata["labels"]),
    )


def _metadata(
    spec: TrainingSpec | EvaluationSpec | ProbeSpec,
    settings: JobSettings,
    role: Role,
    name: str,
    purpose: Purpose = Purpose.TRAIN,
) -> Manifest:
    labels = {
        NAME: "f1-training",
        MANAGED_BY: "airflow",
        "app.kubernetes.io/version": settings.package_version.replace("+", "-")[:63],
        COMPONENT: role.value,
        JOB_ID: spec.job_id,
        PURPOSE: purpose.value,
        ATTEMPT: str(settings.attempt),
        MODEL_TYPE: spec.model_type[:63],
        BUDGET: settings.budget.value,
    }
    if settings.queue:
        labels[QUEUE] = settings.queue
    digest = hashlib.sha256(spec.to_json().encode()).hexdigest()
    return {
        "name": name,
        "namespace": settings.names.namespace,
        "labels": labels,
        "annotations": {SPEC_SHA256: digest},
    }


def _template(metadata: Manifest, spec: Manifest) -> Manifest:
    labels = {name: value for name, value in metadata["labels"].items() if name != QUEUE}
    return {"metadata": {"labels": labels}, "spec": spec}


def _selecting(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: labels[name] for name in (COMPONENT, JOB_ID, ATTEMPT)}


def _selector(selector: Mapping[str, str], settings: JobSettings, resources: Resources) -> dict[str, str]:
    machine = {settings.machine_type_label: resources.machine_type} if settings.machine_type_label else {}
    return {**selector, **{label: kind for label, kind in machine.items() if kind}}


def _on_disruption(action: str) -> Manifest:
    return {"action": action, "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def _fail_at_once(role: Role) -> Manifest:
    codes = {"containerName": role.value, "operator": "In", "values": list(FINAL_EXIT_CODES)}
    return {"action": "FailJob", "onExitCodes": codes}
