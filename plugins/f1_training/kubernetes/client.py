"""The Kubernetes API: the only module that imports its client. Its errors are turned into reasons here."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from f1_training.kubernetes import pods
from f1_training.kubernetes.manifests import Bundle, Manifest, with_owner
from f1_training.kubernetes.names import ATTEMPT, JOB_ID, OURS, SPEC_SHA256, AttemptRef
from f1_training.kubernetes.permissions import Permission
from f1_training.kubernetes.podspec import Role
from f1_training.kubernetes.status import Observed
from trainer.contract import FailureReason, TrainingFailure

log = logging.getLogger(__name__)

REQUEST_S = 30.0
GKE = "google_cloud_platform"
#: What a container waits for until its image and its volumes are there.
CREATING = "ContainerCreating"


class Cluster:
    """The few things that are asked of a cluster. ``api`` is a ``kubernetes.client.ApiClient``. Not thread-safe."""

    def __init__(self, api: Any) -> None:
        from kubernetes import client

        self._core, self._batch = client.CoreV1Api(api), client.BatchV1Api(api)
        self._access = client.AuthorizationV1Api(api)

    @classmethod
    def connect(cls, conn_id: str) -> Cluster:
        """Through Airflow's connection: a kubeconfig (type ``kubernetes``), or a GKE cluster by its name (type
        ``google_cloud_platform`` with extras ``cluster_name``, ``cluster_location``, and where needed ``project``,
        ``use_dns_endpoint`` or ``use_internal_ip``).

        Raises:
            TrainingFailure: ``ConfigInvalid`` naming the connection and what it lacks.
        """
        from airflow.sdk import Connection
        from airflow.sdk.exceptions import AirflowNotFoundException

        with kubernetes_errors(f"connection {conn_id!r}"):
            try:
                connection = Connection.get(conn_id)
            except AirflowNotFoundException as e:
                message = f"there is no Airflow connection {conn_id!r}; create one of type kubernetes or {GKE}"
                raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e
            if connection.conn_type == GKE:
                return cls(_gke_api(conn_id, connection.extra_dejson))
            from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

            return cls(KubernetesHook(conn_id=conn_id).get_conn())

    def submit(self, bundle: Bundle) -> None:
        """Create the main Job suspended, then what it owns, then resume it. What is there already is adopted.

        Raises:
            TrainingFailure: what the API refused; ``ConfigInvalid`` when another job has the name.
        """
        with kubernetes_errors(f"Job {bundle.name}"):
            job = self._create_main(bundle)
            uid = job["metadata"]["uid"]
            for manifest in bundle.owned:
                self._create_owned(with_owner(manifest, bundle.name, uid), uid)
            if job["spec"].get("suspend") and not bundle.queued:
                self._batch.patch_namespaced_job(
                    bundle.name, bundle.namespace, {"spec": {"suspend": False}}, _request_timeout=REQUEST_S
                )

    def observe(self, ref: AttemptRef) -> Observed:
        """The attempt's objects as they are now, with events about what has no pod, node or volume."""
        with kubernetes_errors(f"Job {ref.job}"):
            job = self._job(ref.namespace, ref.job)
            worker_job = self._job(ref.namespace, ref.worker_job) if ref.worker_job and job else None
            found = _items(
                self._core.list_namespaced_pod(
                    ref.namespace, label_selector=ref.selector, _preload_content=False, _request_timeout=REQUEST_S
                )
            )
            events = [e for name in _unclear(job, worker_job, found) for e in self._events(ref.namespace, name)]
            return Observed(job=job, worker_job=worker_job, pods=found, events=events)

    def remove_silent(self, namespace: str, pod: Mapping[str, Any]) -> None:
        """Say in its kubelet's place that a pod has failed, and delete it; that it is not there is fine.

        A Job waits for its pod's end before it creates another (``podReplacementPolicy: Failed``), and of a silent node
        nobody tells it: deleted by force alone, the pod would stay, held by the Job's finalizer. The cluster's own
        garbage collector does the same, once the node's object is gone.
        """
        from kubernetes.client.exceptions import ApiException

        metadata = pod["metadata"]
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        ended = {"metadata": {"uid": metadata["uid"]}, "status": {"phase": "Failed"}}
        with kubernetes_errors(f"pod {metadata['name']}"):
            try:
                self._core.patch_namespaced_pod_status(metadata["name"], namespace, ended, _request_timeout=REQUEST_S)
                self._core.delete_namespaced_pod(metadata["name"], namespace, body=body, _request_timeout=REQUEST_S)
            except ApiException as e:
                if e.status not in (404, 409):
                    raise

    def jobs(self, namespace: str) -> list[Mapping[str, Any]]:
        """All Jobs of this package in ``namespace``."""
        with kubernetes_errors(f"Jobs in {namespace}"):
            return _items(
                self._batch.list_namespaced_job(
                    namespace, label_selector=OURS, _preload_content=False, _request_timeout=REQUEST_S
                )
            )

    def quotas(self, namespace: str) -> list[Mapping[str, Any]]:
        """The ResourceQuotas of ``namespace``, with what is in use."""
        with kubernetes_errors(f"quotas of {namespace}"):
            return _items(
                self._core.list_namespaced_resource_quota(namespace, _preload_content=False, _request_timeout=REQUEST_S)
            )

    def may(self, namespace: str, permission: Permission) -> bool:
        """Whether this account has ``permission`` in ``namespace``; everybody may ask."""
        spec = {"resourceAttributes": {"namespace": namespace, **permission.attributes}}
        with kubernetes_errors(f"permission to {permission}"):
            answer = self._access.create_self_subject_access_review({"spec": spec}, _request_timeout=REQUEST_S)
            return bool(answer.status.allowed)

    def log_lines(self, namespace: str, pod: str, since_s: int | None = None) -> list[tuple[str, str]]:
        """Lines of a pod's log, each with its time (RFC 3339), of the last ``since_s`` seconds; none before it runs."""
        from kubernetes.client.exceptions import ApiException

        arguments = {} if since_s is None else {"since_seconds": since_s}
        with kubernetes_errors(f"log of {pod}"):
            try:
                response = self._core.read_namespaced_pod_log(
                    pod, namespace, timestamps=True, _preload_content=False, _request_timeout=REQUEST_S, **arguments
                )
            except ApiException as e:
                if e.status in (400, 404):
                    return []
                raise
            text = response.data.decode(errors="replace")
        return [(stamp, line) for stamp, _, line in (raw.partition(" ") for raw in text.splitlines()) if stamp]

    def delete(self, namespace: str, job: str) -> None:
        """Delete a main Job with all it owns; that it is not there is fine. The API's default would orphan its pods."""
        from kubernetes.client.exceptions import ApiException

        with kubernetes_errors(f"Job {job}"):
            try:
                self._batch.delete_namespaced_job(
                    job, namespace, propagation_policy="Foreground", _request_timeout=REQUEST_S
                )
            except ApiException as e:
                if e.status != 404:
                    raise

    def _create_main(self, bundle: Bundle) -> Mapping[str, Any]:
        from kubernetes.client.exceptions import ApiException

        try:
            return _body(
                self._batch.create_namespaced_job(
                    bundle.namespace, bundle.main, _preload_content=False, _request_timeout=REQUEST_S
                )
            )
        except ApiException as e:
            if e.status != 409:
                raise
        job = self._job(bundle.namespace, bundle.name)
        if job is None:
            message = f"Job {bundle.name} was there and is gone: another process works on the same run; start it again"
            raise TrainingFailure(FailureReason.CHIEF_LOST, message)
        _require_same(bundle.main, job)
        log.info("Job %s exists: adopting it", bundle.name)
        return job

    def _create_owned(self, manifest: Manifest, owner_uid: str) -> None:
        from kubernetes.client.exceptions import ApiException

        kind, metadata = manifest["kind"], manifest["metadata"]
        create, read = {
            "Service": (self._core.create_namespaced_service, self._core.read_namespaced_service),
            "Secret": (self._core.create_namespaced_secret, self._core.read_namespaced_secret),
            "Job": (self._batch.create_namespaced_job, self._batch.read_namespaced_job),
        }[kind]
        try:
            create(metadata["namespace"], manifest, _request_timeout=REQUEST_S)
        except ApiException as e:
            if e.status != 409:
                raise
            found = _body(
                read(metadata["name"], metadata["namespace"], _preload_content=False, _request_timeout=REQUEST_S)
            )
            owners = {o.get("uid") for o in found["metadata"].get("ownerReferences") or []}
            if owner_uid not in owners:
                message = f"{kind} {metadata['name']} exists and belongs to another job; delete it, then start again"
                raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e

    def _job(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        from kubernetes.client.exceptions import ApiException

        try:
            return _body(
                self._batch.read_namespaced_job(name, namespace, _preload_content=False, _request_timeout=REQUEST_S)
            )
        except ApiException as e:
            if e.status == 404:
                return None
            raise

    def _events(self, namespace: str, name: str) -> list[Mapping[str, Any]]:
        return _items(
            self._core.list_namespaced_event(
                namespace,
                field_selector=f"involvedObject.name={name}",
                _preload_content=False,
                _request_timeout=REQUEST_S,
            )
        )


def _unclear(job: Mapping[str, Any] | None, worker_job: Mapping[str, Any] | None, found: list[Any]) -> Iterator[str]:
    """Names of the objects that only events explain: Jobs that lack pods, and pods that lack a node or a volume."""
    yield from (pods.name(p) for p in found if pods.unschedulable(p) or pods.waiting(p).get("reason") == CREATING)
    if job is not None and all(pods.role(pod) is Role.WORKER for pod in found):
        yield pods.name(job)
    workers = [pod for pod in found if pods.role(pod) is Role.WORKER and not pods.terminated(pod)]
    if worker_job is not None and len(workers) < int(worker_job["spec"].get("completions") or 0):
        yield pods.name(worker_job)


def _require_same(wanted: Manifest, found: Mapping[str, Any]) -> None:
    if found["metadata"].get("deletionTimestamp"):
        message = f"Job {wanted['metadata']['name']} is being deleted; start the run again in a minute"
        raise TrainingFailure(FailureReason.CHIEF_LOST, message)
    labels = found["metadata"].get("labels") or {}
    digest = (found["metadata"].get("annotations") or {}).get(SPEC_SHA256)
    same = all(labels.get(k) == wanted["metadata"]["labels"][k] for k in (JOB_ID, ATTEMPT))
    if not same or digest != wanted["metadata"]["annotations"][SPEC_SHA256]:
        message = f"Job {wanted['metadata']['name']} exists with another spec; delete it, then start the run again"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)


def _gke_api(conn_id: str, extra: Mapping[str, Any]) -> Any:
    from airflow.providers.google.cloud.hooks.kubernetes_engine import GKEHook, GKEKubernetesHook

    missing = [name for name in ("cluster_name", "cluster_location") if not extra.get(name)]
    if missing:
        message = f"connection {conn_id!r} is of type {GKE} and lacks the extras {', '.join(missing)}"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    hook = GKEHook(gcp_conn_id=conn_id, location=extra["cluster_location"])
    cluster = hook.get_cluster(name=extra["cluster_name"], project_id=extra.get("project") or hook.project_id)
    dns = bool(extra.get("use_dns_endpoint"))
    if dns:
        host = cluster.control_plane_endpoints_config.dns_endpoint_config.endpoint
    elif extra.get("use_internal_ip"):
        host = cluster.private_cluster_config.private_endpoint
    else:
        host = cluster.endpoint
    certificate = cluster.master_auth.cluster_ca_certificate
    return GKEKubernetesHook(
        cluster_url=f"https://{host}", ssl_ca_cert=certificate, gcp_conn_id=conn_id, use_dns_endpoint=dns
    ).get_conn()


def _body(response: Any) -> Mapping[str, Any]:
    body: Mapping[str, Any] = json.loads(response.data)
    return body


def _items(response: Any) -> list[Mapping[str, Any]]:
    items: list[Mapping[str, Any]] = _body(response).get("items") or []
    return items


@contextlib.contextmanager
def kubernetes_errors(what: str) -> Iterator[None]:
    """Turn what the client raises about ``what`` into :class:`TrainingFailure`; the unknown passes through."""
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config import ConfigException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as e:
        reason = _reason(e)
        fix = _EXPIRED if e.status == 401 else _FIXES[reason]
        raise TrainingFailure(reason, f"{what}: Kubernetes answered {e.status}: {_message(e)}{fix}") from e
    except (HTTPError, ConnectionError, TimeoutError) as e:
        raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, f"{what}: Kubernetes does not answer: {e}") from e
    except ConfigException as e:
        raise TrainingFailure(FailureReason.CONFIG_INVALID, f"{what}: no usable kubeconfig: {e}") from e


_FIXES = {
    FailureReason.RESOURCE_EXHAUSTED: "; raise the namespace's quota, or wait until other jobs have ended",
    FailureReason.PERMISSION_DENIED: "; Airflow's account needs to create, read and delete Jobs, Services and Secrets",
    FailureReason.CONFIG_INVALID: "; is the namespace of the Variable f1_training there?",
    FailureReason.NETWORK_TIMEOUT: "",
}


_EXPIRED = "; the credentials of Airflow's Kubernetes connection are wrong or have expired"


def _reason(error: Any) -> FailureReason:
    if error.status == 403 and "exceeded quota" in str(error.body):
        return FailureReason.RESOURCE_EXHAUSTED
    if error.status in (401, 403):
        return FailureReason.PERMISSION_DENIED
    transient = not error.status or error.status in (408, 409, 429) or error.status >= 500
    return FailureReason.NETWORK_TIMEOUT if transient else FailureReason.CONFIG_INVALID


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
