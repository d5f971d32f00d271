"""The pod of each role: one container, restricted, with scratch space, its environment and its probes."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from f1_training.core.settings import SPOT_LABEL, MetricsSettings, Spot
from f1_training.kubernetes.settings import JobSettings
from trainer.contract.metrics import Exporter
from trainer.contract.resources import Resources

CHIEF_PORT, HEALTH_PORT = 8786, 8080
TLS_DIR, CACHE_DIR, TMP_DIR = "/etc/f1-training/tls", "/var/cache/f1-training", "/tmp"  # noqa: S108 - in the pod
TERMINATION_LOG = "/dev/termination-log"
COMPLETION_INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
GPU, ACCELERATOR = "nvidia.com/gpu", "cloud.google.com/gke-accelerator"
HOSTNAME = "kubernetes.io/hostname"
USER = 10001
#: Between SIGTERM and SIGKILL: a segment that is nearly done is finished and committed.
GRACE_S = 30
#: Nodes that no longer answer are given up after this long; the default is five minutes.
UNREACHABLE_S = 30


class Role(enum.StrEnum):
    """What a pod is; also its container's name and its label ``app.kubernetes.io/component``."""

    CHIEF = "chief"
    WORKER = "worker"
    EVALUATE = "evaluate"
    PROBE = "probe"


#: The roles of main Jobs' pods: an attempt has one such pod.
MAIN_ROLES = (Role.CHIEF, Role.EVALUATE, Role.PROBE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """One role's container. ``environment`` is its own part of the environment."""

    role: Role
    image: str
    module: str
    resources: Resources
    environment: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False
    probed: bool = False
    gpu: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Which nodes a pod goes to, and before whom. Pods with the labels ``spread`` share a node only where they must."""

    node_selector: Mapping[str, str] = field(default_factory=dict)
    spot: Spot = Spot.NEVER
    priority_class: str = ""
    spread: Mapping[str, str] = field(default_factory=dict)


def pod_spec(container: Container, settings: JobSettings, placement: Placement) -> dict[str, Any]:
    """The ``spec`` of a pod, within the Pod Security Standard "restricted"."""
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(container, settings)],
        "volumes": _volumes(container, settings),
        "tolerations": _tolerations(placement, container),
        "affinity": {"nodeAffinity": _spot_affinity(placement.spot)},
    }
    # Whoever trains must not see a test row, so whoever sees one is somebody else.
    evaluates = container.role is Role.EVALUATE
    if account := settings.evaluator_service_account if evaluates else settings.service_account:
        spec["serviceAccountName"] = account
    if placement.priority_class:
        spec["priorityClassName"] = placement.priority_class
    selector = {**placement.node_selector}
    if container.gpu and settings.gpu_accelerator:
        selector[ACCELERATOR] = settings.gpu_accelerator
    if selector:
        spec["nodeSelector"] = selector
    if placement.spread:
        spec["topologySpreadConstraints"] = [_spread(placement.spread)]
    return spec


def _container(container: Container, settings: JobSettings) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": container.role.value,
        "image": container.image,
        "command": ["python", "-m", container.module],
        "env": _environment(container, settings),
        "resources": _resources(container),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": _mounts(container),
    }
    if container.probed:
        health = {"httpGet": {"path": "/health", "port": HEALTH_PORT}, "timeoutSeconds": 5}
        # Importing the libraries takes a while on a cold node: 5 minutes before the kubelet gives up.
        made["startupProbe"] = {**health, "periodSeconds": 5, "failureThreshold": 60}
        # A pod that hangs for a minute is replaced by its index; the event loop that does its work answers.
        made["livenessProbe"] = {**health, "periodSeconds": 10, "failureThreshold": 6}
        made["readinessProbe"] = {**health, "periodSeconds": 10, "failureThreshold": 3}
        made["ports"] = [{"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"}]
    return made


def _environment(container: Container, settings: JobSettings) -> list[dict[str, Any]]:
    plain = {
        **container.environment,
        "TRAINING_HEALTH_PORT": str(HEALTH_PORT),
        "TRAINING_CACHE_DIR": CACHE_DIR,
        "TRAINING_TERMINATION_LOG": TERMINATION_LOG,
        "TRAINING_ATTEMPT": str(settings.attempt),
        "TRAINING_MODEL_TYPE": settings.model_type,
        "GOOGLE_CLOUD_PROJECT": settings.project,
        "HOME": TMP_DIR,
    }
    if container.tls:
        plain["TRAINING_TLS_DIR"] = TLS_DIR
    fields = {"POD_IP": "status.podIP"}
    if settings.collective_host is None:
        fields["COLLECTIVE_HOST"] = "status.podIP"
    else:
        plain["COLLECTIVE_HOST"] = settings.collective_host
    if container.role is Role.WORKER:
        fields["WORKER_INDEX"] = COMPLETION_INDEX
    if container.probed and settings.metrics.exporters:
        plain |= _metrics(settings.metrics)
        fields["POD_NAMESPACE"] = "metadata.namespace"
    plain |= settings.environment
    references = [{"name": n, "valueFrom": {"fieldRef": {"fieldPath": path}}} for n, path in fields.items()]
    return [*references, *({"name": name, "value": value} for name, value in sorted(plain.items()))]


def _metrics(metrics: MetricsSettings) -> dict[str, str]:
    """Where the pod's metrics go. Prometheus asks on the health port; Cloud Monitoring is told."""
    told = {"TRAINING_METRICS": ",".join(metrics.exporters)}
    if Exporter.CLOUD_MONITORING in metrics.exporters:
        told["TRAINING_METRICS_LOCATION"] = metrics.location
        if metrics.endpoint:
            told["TRAINING_METRICS_ENDPOINT"] = metrics.endpoint
    return told


def _resources(container: Container) -> dict[str, Any]:
    # No CPU limit: throttling would slow all ranks down to the slowest. Memory is limited to what was requested.
    wanted = container.resources
    # So is the disk: a pod that fills its node's takes the neighbours with it.
    bounded = {"memory": wanted.memory, "ephemeral-storage": wanted.disk}
    limits = {**bounded, **({GPU: "1"} if container.gpu else {})}
    return {"requests": {"cpu": wanted.cpu, **bounded}, "limits": limits}


def _mounts(container: Container) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "cache", "mountPath": CACHE_DIR},
        {"name": "tmp", "mountPath": TMP_DIR},
    ]
    if container.tls:
        mounts.append({"name": "tls", "mountPath": TLS_DIR, "readOnly": True})
    return mounts


def _volumes(container: Container, settings: JobSettings) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [{"name": "cache", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    if container.tls:
        volumes.append({"name": "tls", "secret": {"secretName": settings.names.secret, "defaultMode": 0o440}})
    return volumes


def _tolerations(placement: Placement, container: Container) -> list[dict[str, Any]]:
    away = [
        {
            "key": f"node.kubernetes.io/{what}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": UNREACHABLE_S,
        }
        for what in ("not-ready", "unreachable")
    ]
    if placement.spot is not Spot.NEVER:
        away.append({"key": SPOT_LABEL, "operator": "Equal", "value": "true", "effect": "NoSchedule"})
    if container.gpu:
        away.append({"key": GPU, "operator": "Exists", "effect": "NoSchedule"})
    return away


def _spot_affinity(spot: Spot) -> dict[str, Any]:
    """Nodes that Google takes back at 25 seconds' notice: wanted, needed, or none of them."""
    operator = "DoesNotExist" if spot is Spot.NEVER else "Exists"
    term = {"matchExpressions": [{"key": SPOT_LABEL, "operator": operator}]}
    if spot is Spot.PREFERRED:
        return {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": term}]}
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}


def _spread(labels: Mapping[str, str]) -> dict[str, Any]:
    """One node lost should be one worker lost; where nodes are few, training together beats not training."""
    return {
        "maxSkew": 1,
        "topologyKey": HOSTNAME,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(labels)},
    }
