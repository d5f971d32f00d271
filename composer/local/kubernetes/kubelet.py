"""The kubelet: one pod is one process, in its own session, on its own loopback address, and it never outlives us."""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from composer.local.kubernetes.logs import PodLog
from composer.local.kubernetes.network import LoopbackNetwork
from composer.local.kubernetes.nodes import choose
from composer.local.kubernetes.podspec import Node, PodConfigError, Process, VolumeError, prepare
from composer.local.kubernetes.quantities import quantity
from composer.local.kubernetes.store import Key, Object, Store, now

PR_SET_PDEATHSIG = 1
MEMORY_EVERY_S = 1.0
SCHEDULE_EVERY_S = 1.0
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_kubelet() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class RunningPod:
    """One pod's process and what is known about its end."""

    key: Key
    process: subprocess.Popen[bytes] | None
    log: PodLog
    address: str
    plan: Process | None = None
    started_at: str = ""
    out_of_memory: bool = False
    deleting: bool = False


class Kubelet:
    """Starts the pods that appear in the store and stops those that are deleted."""

    def __init__(
        self,
        store: Store,
        node: Node,
        record: Callable[[Object, str, str, str], None],
        forget: Callable[[Key], None] | None = None,
    ) -> None:
        self._store = store
        self._node = node
        self._record = record
        self._forget = forget or store.remove
        self._network = LoopbackNetwork(node.hosts)
        self._pods: dict[Key, RunningPod] = {}
        self._starts: queue.Queue[Key] = queue.Queue()
        self._stopping = threading.Event()
        # The kernel ends pods when the *thread* that started them ends, so one thread starts them all.
        for target in (self._start_all, self._watch_memory):
            threading.Thread(target=target, daemon=True).start()

    def submit(self, key: Key) -> None:
        """A pod was created."""
        self._starts.put(key)

    def log(self, key: Key) -> PodLog | None:
        """The pod's log, if it ever started."""
        pod = self._pods.get(key)
        return pod.log if pod else None

    def update_hosts(self) -> None:
        """Services or pods changed: names may resolve to other addresses."""
        services = [item for _, item in self._store.list("services")]
        self._network.write_hosts(services, [item for _, item in self._store.list("pods")])

    def delete(self, key: Key, grace_s: float) -> None:
        """End the pod's process, politely first, then forget the pod."""
        threading.Thread(target=self._delete, args=(key, grace_s), daemon=True).start()

    def stop(self) -> None:
        """End all pods at once."""
        self._stopping.set()
        for pod in list(self._pods.values()):
            _kill_group(pod.process, signal.SIGKILL)

    def _start_all(self) -> None:
        while not self._stopping.is_set():
            key = self._starts.get()
            try:
                self._start(key)
            except Exception as e:  # noqa: BLE001 - one bad pod must not stop the kubelet
                self._fail_to_start(key, "ContainerCannotRun", str(e))

    def _start(self, key: Key) -> None:
        item = self._store.get(key)
        if item is None or item["metadata"].get("deletionTimestamp"):
            return
        if not self._place(key, item):
            return
        image = item["spec"]["containers"][0].get("image", "")
        if "does-not-exist" in image:
            message = f'Back-off pulling image "{image}"'
            self._set(key, lambda p: _waiting(p, "ImagePullBackOff", message))
            self._record(item, "Warning", "Failed", f'Failed to pull image "{image}": not found')
            self._record(item, "Warning", "BackOff", message)
            return
        address = self._network.take()
        try:
            plan = prepare(item, address, self._node, lambda r, n: self._store.get(Key(r, key.namespace, n)))
        except PodConfigError as e:
            self._network.give_back(address)
            if isinstance(e, VolumeError):
                self._set(key, lambda p: _waiting(p, "ContainerCreating", ""))
                self._record(item, "Warning", "FailedMount", str(e))
            else:
                text = str(e)
                self._set(key, lambda p: _waiting(p, "CreateContainerConfigError", text))
                self._record(item, "Warning", "Failed", f"Error: {e}")
            threading.Timer(1.0, self.submit, (key,)).start()
            return
        self._run(key, item, plan, address)

    def _place(self, key: Key, item: Object) -> bool:
        """Bind the pod to a node; or say why no node takes it, and look again later."""
        if item["spec"].get("nodeName"):
            return True
        nodes = [n for _, n in self._store.list("nodes")]
        name, reason = choose(item, nodes, [p for _, p in self._store.list("pods")])
        if name:
            self._set(key, lambda p: {**p, "spec": {**p["spec"], "nodeName": name}})
            self._record(item, "Normal", "Scheduled", f"Successfully assigned {key.namespace}/{key.name} to {name}")
            return True
        if reason != _unschedulable(item):
            self._set(key, lambda p: _pending(p, reason))
            self._record(item, "Warning", "FailedScheduling", reason)
        threading.Timer(SCHEDULE_EVERY_S, self.submit, (key,)).start()
        return False

    def _run(self, key: Key, item: Object, plan: Process, address: str) -> None:
        log = PodLog(plan.folder / "log")
        try:
            process = subprocess.Popen(
                plan.command,
                env=plan.environment,
                cwd=plan.folder / "home",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_kubelet,
            )
        except OSError as e:
            log.append(str(e).encode())
            log.end()
            self._pods[key] = RunningPod(key, None, log, address, plan)
            self._fail_to_start(key, "StartError", str(e))
            return
        pod = RunningPod(key, process, log, address, plan, started_at=now())
        self._pods[key] = pod
        probed = "readinessProbe" in item["spec"]["containers"][0]
        self._set(key, lambda p: _running(p, pod, ready=not probed))
        self._record(item, "Normal", "Started", "Started container " + item["spec"]["containers"][0]["name"])
        self.update_hosts()
        threading.Thread(target=self._attend, args=(pod,), daemon=True).start()
        if probed:
            threading.Thread(target=self._probe, args=(pod, item), daemon=True).start()

    def _attend(self, pod: RunningPod) -> None:
        assert pod.process is not None
        assert pod.process.stdout is not None
        for line in pod.process.stdout:
            pod.log.append(line)
        code = pod.process.wait()
        # What the main process left in its group ends with it, as a container does.
        _kill_group(pod.process, signal.SIGKILL)
        pod.process.stdout.close()
        pod.log.end()
        self._network.give_back(pod.address)
        if not self._stopping.is_set():
            self._set(pod.key, lambda p: _terminated(p, pod, code))
            self.update_hosts()

    def _probe(self, pod: RunningPod, item: Object) -> None:
        probe = item["spec"]["containers"][0]["readinessProbe"]
        port, path = probe["httpGet"]["port"], probe["httpGet"].get("path", "/")
        ready = False
        while pod.process is not None and pod.process.poll() is None and not self._stopping.is_set():
            good = _answers(f"http://{pod.address}:{port}{path}", probe.get("timeoutSeconds", 1))
            if good != ready:
                ready = good
                self._set(pod.key, lambda p: _running(p, pod, ready=good))  # noqa: B023
            time.sleep(min(probe.get("periodSeconds", 10), 2.0))

    def _delete(self, key: Key, grace_s: float) -> None:
        pod = self._pods.get(key)
        if pod is not None and pod.process is not None and pod.process.poll() is None:
            pod.deleting = True
            # To the main process alone, as container runtimes do.
            pod.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                pod.process.wait(max(grace_s, 0.01))
            _kill_group(pod.process, signal.SIGKILL)
            pod.process.wait()
        if pod is not None and pod.process is not None:
            # Its end is told before it is gone, as since Kubernetes 1.27; the Job controller counts it.
            code = pod.process.returncode
            self._set(key, lambda p: p if _over(p) else _terminated(p, pod, code))
        self._pods.pop(key, None)
        self._forget(key)
        self.update_hosts()
        if pod is not None and pod.plan is not None:
            shutil.rmtree(pod.plan.folder, ignore_errors=True)

    def _watch_memory(self) -> None:
        while not self._stopping.wait(MEMORY_EVERY_S):
            for pod in list(self._pods.values()):
                item = self._store.get(pod.key)
                limits = ((item or {}).get("spec") or {}).get("containers", [{}])[0].get("resources", {}).get(
                    "limits"
                ) or {}
                if pod.process is None or pod.process.poll() is not None or "memory" not in limits:
                    continue
                if _group_bytes(pod.process.pid) > quantity(limits["memory"]):
                    pod.out_of_memory = True
                    _kill_group(pod.process, signal.SIGKILL)

    def _fail_to_start(self, key: Key, reason: str, message: str) -> None:
        stamp = now()
        ended = {"exitCode": 128, "reason": reason, "message": message, "startedAt": stamp, "finishedAt": stamp}
        self._set(key, lambda p: _status(p, "Failed", {"terminated": ended}, ready=False, address=""))

    def _set(self, key: Key, change: Callable[[Object], Object]) -> None:
        with self._store.lock:
            item = self._store.get(key)
            if item is not None:
                self._store.replace(key, change(item))


def _kill_group(process: subprocess.Popen[bytes] | None, number: int) -> None:
    if process is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


def _group_bytes(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(pid)
        for process in (leader, *leader.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
    return total


def _answers(url: str, timeout_s: float) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=timeout_s) as response:  # noqa: S310
        return bool(200 <= response.status < 400)
    return False


def _unschedulable(pod: Object) -> str:
    """Why no node takes it, as was said before."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return next((c["message"] for c in conditions if c.get("reason") == "Unschedulable"), "")


def _over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _pending(pod: Object, reason: str) -> Object:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": reason}
    pod["status"] = {"phase": "Pending", "conditions": [{**condition, "lastTransitionTime": now()}]}
    return pod


def _waiting(pod: Object, reason: str, message: str) -> Object:
    return _status(pod, "Pending", {"waiting": {"reason": reason, "message": message}}, ready=False, address="")


def _running(pod: Object, running: RunningPod, *, ready: bool) -> Object:
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return pod
    state = {"running": {"startedAt": running.started_at}}
    return _status(pod, "Running", state, ready=ready, address=running.address)


def _terminated(pod: Object, running: RunningPod, code: int) -> Object:
    exit_code = 128 - code if code < 0 else code
    reason = "OOMKilled" if running.out_of_memory else "Completed" if exit_code == 0 else "Error"
    ended: dict[str, Any] = {
        "exitCode": exit_code,
        "reason": reason,
        "startedAt": running.started_at,
        "finishedAt": now(),
        "containerID": f"process://{running.process.pid if running.process else 0}",
    }
    message = _termination_message(pod, running)
    if message:
        ended["message"] = message
    phase = "Succeeded" if exit_code == 0 else "Failed"
    return _status(pod, phase, {"terminated": ended}, ready=False, address=running.address)


def _termination_message(pod: Object, running: RunningPod) -> str:
    container = pod["spec"]["containers"][0]
    path: Path | None = running.plan.termination_log if running.plan else None
    text = path.read_bytes()[:4096] if path and path.exists() else b""
    if not text and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        text = running.log.last(80)[-2048:]
    return text.decode(errors="replace")


def _status(pod: Object, phase: str, state: Object, *, ready: bool, address: str) -> Object:
    old = pod.get("status") or {}
    kept = [c for c in old.get("conditions") or [] if c["type"] not in ("Ready", "ContainersReady", "PodScheduled")]
    word = "True" if ready else "False"
    conditions = [
        {"type": t, "status": s} for t, s in (("PodScheduled", "True"), ("ContainersReady", word), ("Ready", word))
    ]
    pod["status"] = {
        "phase": phase,
        "hostIP": "127.0.0.1",
        "startTime": old.get("startTime") or now(),
        "qosClass": "Burstable",
        "conditions": [*kept, *({**c, "lastTransitionTime": now()} for c in conditions)],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "imageID": container.get("image", ""),
                "ready": ready,
                "started": "running" in state,
                "restartCount": 0,
                "state": state,
                "lastState": {},
            }
            for container in pod["spec"]["containers"][:1]
        ],
        **({"podIP": address, "podIPs": [{"ip": address}]} if address else {}),
    }
    return pod
