"""What keeps objects as they should be: the Job controller's loop, garbage collection, expiry, events."""

from __future__ import annotations

import copy
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from composer.local.kubernetes import jobs, nodes, quota
from composer.local.kubernetes.kubelet import Kubelet
from composer.local.kubernetes.store import Key, Object, Store, now

FOREGROUND = "foregroundDeletion"
#: How soon a pod that a quota refused is asked for again.
REFUSED_EVERY_S = 1.0


class Controllers:
    """Runs in one thread that wakes on every change. ``clock`` is seconds since the epoch."""

    def __init__(self, store: Store, *, backoff_s: float = 10.0, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._backoff_s = backoff_s
        self._clock = clock
        self.kubelet: Kubelet | None = None
        #: Pods that are gone and count: what finalizers are for on a cluster. By their Job's uid.
        self._counted: dict[str, list[Object]] = {}

    def run(self, stop: threading.Event) -> None:
        """Reconcile until ``stop``."""
        seen = 0
        while not stop.is_set():
            seen_before = self._store.version
            wake_s = self.reconcile()
            seen = max(seen, seen_before)
            self._store.wait(seen, max(0.02, min(wake_s, 5.0)))

    def reconcile(self) -> float:
        """Look at every Job once; returns in how many seconds to look again."""
        wake_s = 5.0
        with self._store.lock:
            for key, job in self._store.list("jobs"):
                wake_s = min(wake_s, self._reconcile_job(key, job))
            self._collect_garbage()
            self._count_quotas()
            there = {job["metadata"]["uid"] for _, job in self._store.list("jobs")}
            self._counted = {uid: pods for uid, pods in self._counted.items() if uid in there}
            return min(wake_s, self._give_up_pods())

    def record(self, item: Object, kind: str, reason: str, message: str) -> None:
        """Write an Event about ``item``."""
        metadata = item["metadata"]
        name = f"{metadata['name']}.{uuid.uuid4().hex[:12]}"
        stamp = now()
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name},
            "involvedObject": {
                "kind": item.get("kind"),
                "name": metadata["name"],
                "namespace": metadata.get("namespace", ""),
                "uid": metadata.get("uid"),
                "apiVersion": item.get("apiVersion"),
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "source": {"component": "stand-in"},
        }
        self._store.create(Key("events", metadata.get("namespace", ""), name), body)

    def delete(self, key: Key, policy: str, grace_s: float | None = None, *, disrupted: str = "") -> Object | None:
        """Delete an object as ``propagationPolicy`` says; returns it as it then is.

        ``disrupted`` is why a pod is taken away, for its conditions.
        """
        with self._store.lock:
            item = self._store.get(key)
            if item is None:
                return None
            if key.resource == "pods":
                return self._delete_pod(key, _disrupted(item, disrupted) if disrupted else item, grace_s)
            if policy == "Foreground" and self._dependents(item):
                item["metadata"]["deletionTimestamp"] = item["metadata"].get("deletionTimestamp") or now()
                finalizers = item["metadata"].setdefault("finalizers", [])
                if FOREGROUND not in finalizers:
                    finalizers.append(FOREGROUND)
                item = self._store.replace(key, item)
                self._collect_garbage()
                return item
            if policy == "Orphan":
                for child_key, child in self._dependents(item):
                    owners = child["metadata"]["ownerReferences"]
                    child["metadata"]["ownerReferences"] = [o for o in owners if o["uid"] != item["metadata"]["uid"]]
                    self._store.replace(child_key, child)
            self._store.remove(key)
            self._collect_garbage()
            return item

    def _give_up_pods(self) -> float:
        """Delete pods on nodes that no longer answer, as far as that can be done without their kubelets."""
        wake_s = 5.0
        pods = [p for _, p in self._store.list("pods")]
        for _, node in self._store.list("nodes"):
            if nodes.answers(node):
                continue
            wake_s = 1.0
            for pod in nodes.given_up(node, pods, self._clock()):
                key = Key("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
                self.record(
                    pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key.namespace}/{key.name}"
                )
                self.delete(key, "Background", disrupted="DeletionByTaintManager")
        return wake_s

    def _reconcile_job(self, key: Key, job: Object) -> float:
        if job["metadata"].get("deletionTimestamp"):
            return 5.0
        uid = job["metadata"]["uid"]
        there = [p for _, p in self._store.list("pods", key.namespace) if _owned(p, uid)]
        pods = [*there, *self._counted.get(uid, [])]
        decision = jobs.decide(job, pods, self._clock(), self._backoff_s)
        job["status"] = decision.status
        self._store.replace(key, job)
        for name in decision.delete:
            self.delete(Key("pods", key.namespace, name), "Background")
        created = [self._create_pod(key, job, index, failures) for index, failures in decision.create]
        for reason, message in decision.events:
            self.record(job, "Normal" if reason == "CompletionsReached" else "Warning", reason, message)
        wake_s = decision.wake_s if decision.wake_s is not None else 5.0
        return min(wake_s, 5.0 if all(created) else REFUSED_EVERY_S, self._expire(key, job))

    def _count_quotas(self) -> None:
        for key, item in self._store.list("resourcequotas"):
            found = quota.status(item, self._store)
            if item.get("status") != found:
                item["status"] = found
                self._store.replace(key, item)

    def _expire(self, key: Key, job: Object) -> float:
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        ended = [c for c in job["status"].get("conditions", []) if c["type"] in ("Complete", "Failed")]
        if ttl is None or not ended:
            return 5.0
        left = jobs.seconds_of(ended[0]["lastTransitionTime"]) + ttl - self._clock()
        if left <= 0:
            self.delete(key, "Foreground")
        return max(left, 0.02)

    def _create_pod(self, key: Key, job: Object, index: int | None, failures: int) -> bool:
        """Create the pod, unless a quota refuses it; whether it is there."""
        template = copy.deepcopy(job["spec"]["template"])
        metadata = template.setdefault("metadata", {})
        suffix = uuid.uuid4().hex[:5]
        name = f"{key.name}-{suffix}" if index is None else f"{key.name}-{index}-{suffix}"
        labels = metadata.setdefault("labels", {}) or {}
        uid = job["metadata"]["uid"]
        labels |= {"job-name": key.name, "batch.kubernetes.io/job-name": key.name}
        labels |= {"controller-uid": uid, "batch.kubernetes.io/controller-uid": uid}
        if index is not None:
            labels[jobs.INDEX] = str(index)
            annotations = metadata.setdefault("annotations", {})
            annotations |= {jobs.INDEX: str(index), jobs.FAILURES: str(failures)}
            template["spec"].setdefault("hostname", f"{key.name}-{index}")
            for container in template["spec"]["containers"]:
                container.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "value": str(index)})
        metadata["labels"] = labels
        metadata["ownerReferences"] = [
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "name": key.name,
                "uid": uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
        pod = {"apiVersion": "v1", "kind": "Pod", **template, "status": {"phase": "Pending"}}
        pod_key = Key("pods", key.namespace, name)
        refused = quota.refusal({**pod, "metadata": {**metadata, "namespace": key.namespace}}, name, self._store)
        if refused:
            self.record(job, "Warning", "FailedCreate", f"Error creating: {refused}")
            return False
        self._store.create(pod_key, pod)
        self.record(job, "Normal", "SuccessfulCreate", f"Created pod: {name}")
        if self.kubelet is not None:
            self.kubelet.submit(pod_key)
        return True

    def forget_pod(self, key: Key) -> None:
        """A pod has ended and was deleted: its Job still counts it. One that never ended keeps its index taken.

        Nobody but its kubelet says that a pod has ended; where that is silent, somebody must say it in its place.
        """
        with self._store.lock:
            item = self._store.get(key)
            if item is None:
                return
            job = self._job_of(item)
            if job is not None and not job["spec"].get("suspend"):
                if "nodeName" not in item["spec"]:
                    item.setdefault("status", {})["phase"] = "Failed"
                if item["status"].get("phase") not in ("Succeeded", "Failed"):
                    return
                self._counted.setdefault(job["metadata"]["uid"], []).append(item)
            self._store.remove(key)

    def _answers(self, node: str) -> bool:
        return nodes.answers(self._store.get(Key("nodes", "", node)))

    def _job_of(self, pod: Object) -> Object | None:
        owners = {o["uid"] for o in pod["metadata"].get("ownerReferences") or []}
        found = [j for _, j in self._store.list("jobs", pod["metadata"]["namespace"]) if j["metadata"]["uid"] in owners]
        return found[0] if found and not found[0]["metadata"].get("deletionTimestamp") else None

    def _delete_pod(self, key: Key, item: Object, grace_s: float | None) -> Object:
        if item["metadata"].get("deletionTimestamp") and grace_s != 0:
            return item
        grace = grace_s if grace_s is not None else item["spec"].get("terminationGracePeriodSeconds", 30)
        item["metadata"]["deletionTimestamp"] = now(later_s=grace)
        item["metadata"]["deletionGracePeriodSeconds"] = int(grace)
        item = self._store.replace(key, item) or item
        node = item["spec"].get("nodeName")
        if self.kubelet is None:
            self._store.remove(key)
        elif grace_s == 0 and node is not None and not self._answers(node):
            self.forget_pod(key)
            if self._store.get(key) is None:
                self.kubelet.delete(key, 0)
        elif node is None or self._answers(node):
            self.kubelet.delete(key, grace)
        return item

    def _dependents(self, item: Object) -> list[tuple[Key, Object]]:
        uid = item["metadata"]["uid"]
        resources = ("pods", "jobs", "services", "secrets", "configmaps")
        return [(k, o) for r in resources for k, o in self._store.list(r) if _owned(o, uid)]

    def _collect_garbage(self) -> None:
        """Delete what no owner holds any more, and owners that wait for nothing any more."""
        uids = {o["metadata"]["uid"] for r in ("jobs", "pods", "services") for _, o in self._store.list(r)}
        for resource in ("pods", "jobs", "services", "secrets", "configmaps"):
            for key, item in self._store.list(resource):
                owners = item["metadata"].get("ownerReferences") or []
                orphaned = owners and not any(o["uid"] in uids for o in owners)
                doomed = any(self._deletes_foreground(o["uid"]) for o in owners)
                if (orphaned or doomed) and not item["metadata"].get("deletionTimestamp"):
                    self.delete(key, "Foreground" if doomed else "Background")
        for key, item in self._store.list("jobs"):
            finalizers = item["metadata"].get("finalizers") or []
            if FOREGROUND in finalizers and not self._dependents(item):
                self._store.remove(key)

    def _deletes_foreground(self, uid: str) -> bool:
        for _, item in self._store.list("jobs"):
            if item["metadata"]["uid"] == uid:
                return FOREGROUND in (item["metadata"].get("finalizers") or [])
        return False


def _disrupted(pod: Object, reason: str) -> Object:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": now()}
    pod.setdefault("status", {}).setdefault("conditions", []).append(condition)
    return pod


def _owned(item: Any, uid: str) -> bool:
    return any(o["uid"] == uid for o in item["metadata"].get("ownerReferences") or [])
