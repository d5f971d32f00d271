"""What the product relies on, through the official client; written so that a real cluster could be asked the same."""

import functools
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from kubernetes import client, config, watch

from composer.local.kubernetes.testing import Cluster, running_kubernetes
from composer.local.places import REPOSITORY
from tests import waiting

NAMESPACE = "f1-training"
UNREACHABLE = "node.kubernetes.io/unreachable"
DEADLINE_S = 20.0
eventually = functools.partial(waiting.eventually, within_s=DEADLINE_S, every_s=0.02)


@dataclass(frozen=True)
class Kube:
    core: client.CoreV1Api
    batch: client.BatchV1Api
    cluster: Cluster


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with running_kubernetes(tmp_path_factory.mktemp("kubernetes"), "--job-backoff-s", "0.2") as cluster:
        api = config.new_client_from_config(cluster.kubeconfig)
        yield Kube(client.CoreV1Api(api), client.BatchV1Api(api), cluster)


def log_of(core: client.CoreV1Api, name: str, namespace: str = NAMESPACE, **options: Any) -> str:
    """The log as it was sent: some versions of the client make text of it in their own way."""
    response = core.read_namespaced_pod_log(name, namespace, _preload_content=False, **options)
    return str(response.data.decode())


def container(program: str, **more: Any) -> dict[str, Any]:
    return {"name": "main", "image": "i:1", "command": ["python", "-c", textwrap.dedent(program)], **more}


def pod(name: str, program: str, labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    spec_keys = {"volumes", "hostname", "subdomain", "terminationGracePeriodSeconds", "nodeSelector"}
    spec = {k: v for k, v in more.items() if k in spec_keys}
    rest = {k: v for k, v in more.items() if k not in spec_keys}
    body = {"restartPolicy": "Never", "containers": [container(program, **rest)], **spec}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": body}


def job(name: str, program: str, n: int = 2, **spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"of": name}},
        "spec": {"restartPolicy": "Never", "containers": [container(program)]},
    }
    body = {"completionMode": "Indexed", "completions": n, "parallelism": n, "backoffLimitPerIndex": 1}
    return {"metadata": {"name": name}, "spec": {**body, "template": template, **spec}}


def ended(kube: Kube, name: str) -> client.V1Job:
    def look() -> client.V1Job | None:
        found = kube.batch.read_namespaced_job(name, NAMESPACE)
        kinds = {c.type for c in found.status.conditions or []}
        return found if kinds & {"Complete", "Failed"} else None

    return eventually(look, f"job {name} ends")


def finished(kube: Kube, name: str) -> client.V1ContainerStateTerminated:
    def look() -> Any:
        statuses = kube.core.read_namespaced_pod(name, NAMESPACE).status.container_statuses
        return statuses and statuses[0].state.terminated

    return eventually(look, f"pod {name} ends")


def pods_of(kube: Kube, name: str) -> list[client.V1Pod]:
    found: list[client.V1Pod] = kube.core.list_namespaced_pod(NAMESPACE, label_selector=f"job-name={name}").items
    return found


def test_an_indexed_job_completes(kube: Kube) -> None:
    program = "import os; print(os.environ['JOB_COMPLETION_INDEX'], os.environ['HOSTNAME'])"
    kube.batch.create_namespaced_job(NAMESPACE, job("completes", program, 3))
    done = ended(kube, "completes")
    assert (done.status.succeeded, done.status.completed_indexes) == (3, "0-2")
    said = sorted(log_of(kube.core, p.metadata.name) for p in pods_of(kube, "completes"))
    assert said == [f"{i} completes-{i}\n" for i in range(3)]


def test_a_lost_worker_is_replaced_by_its_index(kube: Kube, tmp_path: Path) -> None:
    program = f"""
        import os, pathlib, sys
        first = pathlib.Path({str(tmp_path)!r}, os.environ['JOB_COMPLETION_INDEX'])
        if os.environ['JOB_COMPLETION_INDEX'] == '1' and not first.exists():
            first.touch()
            os.kill(os.getpid(), 9)
    """
    kube.batch.create_namespaced_job(NAMESPACE, job("replaced", program))
    done = ended(kube, "replaced")
    assert (done.status.succeeded, done.status.failed) == (2, 1)
    codes = [p.status.container_statuses[0].state.terminated.exit_code for p in pods_of(kube, "replaced")]
    assert sorted(codes) == [0, 0, 137]


def test_an_index_that_keeps_failing_fails_the_job(kube: Kube) -> None:
    program = "import os, sys; sys.exit(0 if os.environ['JOB_COMPLETION_INDEX'] == '0' else 3)"
    kube.batch.create_namespaced_job(NAMESPACE, job("fails", program, maxFailedIndexes=0))
    done = ended(kube, "fails")
    assert [c.reason for c in done.status.conditions if c.type == "Failed"] == ["MaxFailedIndexesExceeded"]


def test_exit_code_78_fails_the_job_at_once(kube: Kube) -> None:
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [65, 77, 78]}}]
    body = job("config", "raise SystemExit(78)", podFailurePolicy={"rules": rules}, podReplacementPolicy="Failed")
    kube.batch.create_namespaced_job(NAMESPACE, body)
    assert ended(kube, "config").status.conditions[-1].reason == "PodFailurePolicy"


def test_a_suspended_job_waits(kube: Kube) -> None:
    kube.batch.create_namespaced_job(NAMESPACE, job("waits", "pass", suspend=True))
    eventually(lambda: kube.batch.read_namespaced_job("waits", NAMESPACE).status.conditions, "it is suspended")
    assert pods_of(kube, "waits") == []
    kube.batch.patch_namespaced_job("waits", NAMESPACE, {"spec": {"suspend": False}})
    assert ended(kube, "waits").status.succeeded == 2


def test_a_plain_delete_orphans_the_pods(kube: Kube) -> None:
    kube.batch.create_namespaced_job(NAMESPACE, job("orphans", "pass"))
    ended(kube, "orphans")
    kube.batch.delete_namespaced_job("orphans", NAMESPACE)
    assert len(pods_of(kube, "orphans")) == 2


def test_foreground_deletion_ends_everything_it_owns(kube: Kube) -> None:
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    owner = kube.batch.create_namespaced_job(NAMESPACE, job("owner", program, 1))
    owned = {"apiVersion": "batch/v1", "kind": "Job", "name": "owner", "uid": owner.metadata.uid}
    secret = {"metadata": {"name": "owned", "ownerReferences": [owned]}, "stringData": {"a": "b"}}
    kube.core.create_namespaced_secret(NAMESPACE, secret)
    name = eventually(lambda: pods_of(kube, "owner"), "its pod")[0].metadata.name
    eventually(lambda: kube.core.read_namespaced_pod(name, NAMESPACE).status.phase == "Running", "it runs")
    pid = int(eventually(lambda: log_of(kube.core, name), "it says its pid"))
    kube.batch.delete_namespaced_job("owner", NAMESPACE, propagation_policy="Foreground")
    eventually(lambda: ended_process(pid), "its process is gone")
    eventually(lambda: not pods_of(kube, "owner"), "its pods are gone")
    for read in (
        lambda: kube.batch.read_namespaced_job("owner", NAMESPACE),
        lambda: kube.core.read_namespaced_secret("owned", NAMESPACE),
    ):
        eventually(lambda: _missing(read), "it is gone")  # noqa: B023


def ended_process(pid: int) -> bool:
    """Gone, or waiting for whoever inherited it to ask how it ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _missing(read: Callable[[], Any]) -> bool:
    try:
        read()
    except client.ApiException as e:
        if e.status != 404:
            raise
        return True
    return False


def test_sigterm_first_then_the_whole_group_is_killed(kube: Kube) -> None:
    program = """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, lambda *_: print("asked to stop", flush=True))
        says = "import signal, time; signal.signal(15, lambda *_: print('child told', flush=True)); "
        child = subprocess.Popen([sys.executable, "-c", says + "[time.sleep(0.1) for _ in range(6000)]"])
        print(child.pid, flush=True)
        while True: time.sleep(0.1)
    """
    kube.core.create_namespaced_pod(NAMESPACE, pod("stubborn", program, terminationGracePeriodSeconds=1))
    log = eventually(lambda: _log(kube, "stubborn"), "it starts")
    kube.core.delete_namespaced_pod("stubborn", NAMESPACE)
    eventually(lambda: "asked" in _log(kube, "stubborn"), "SIGTERM arrives")
    said = _log(kube, "stubborn")
    assert "child told" not in said, "as with a container, the main process alone is told"
    eventually(lambda: _missing(lambda: kube.core.read_namespaced_pod("stubborn", NAMESPACE)), "the pod is gone")
    assert ended_process(int(log))


def _log(kube: Kube, name: str) -> str:
    try:
        return log_of(kube.core, name)
    except client.ApiException as e:
        if e.status not in (400, 404):
            raise
        return ""


def test_a_pod_sees_its_secret_its_address_and_says_why_it_ended(kube: Kube) -> None:
    kube.core.create_namespaced_secret(NAMESPACE, {"metadata": {"name": "tls"}, "stringData": {"key": "s3cret"}})
    program = """
        import os, pathlib
        assert pathlib.Path(os.environ["DIR"], "key").read_text() == os.environ["KEY"] == "s3cret"
        assert "AIRFLOW_HOME" not in os.environ
        pathlib.Path(os.environ["LOG"]).write_text("because of " + os.environ["IP"] + " " + os.environ["INDEX"])
        raise SystemExit(65)
    """
    field = lambda path: {"valueFrom": {"fieldRef": {"fieldPath": path}}}  # noqa: E731
    env = [
        {"name": "DIR", "value": "/etc/tls"},
        {"name": "LOG", "value": "/dev/termination-log"},
        {"name": "IP", **field("status.podIP")},
        {"name": "INDEX", **field("metadata.labels['index']")},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "tls", "key": "key"}}},
    ]
    volumes = [{"name": "tls", "secret": {"secretName": "tls"}}, {"name": "tmp", "emptyDir": {}}]
    mounts = [{"name": "tls", "mountPath": "/etc/tls", "readOnly": True}, {"name": "tmp", "mountPath": "/tmp"}]
    body = pod("sees", program, {"index": "7"}, env=env, volumes=volumes, volumeMounts=mounts)
    kube.core.create_namespaced_pod(NAMESPACE, body)
    state = finished(kube, "sees")
    address = kube.core.read_namespaced_pod("sees", NAMESPACE).status.pod_ip
    assert (state.exit_code, state.reason, state.message) == (65, "Error", f"because of {address} 7")
    assert address.startswith("127.")


def test_a_missing_secret_is_told_and_waited_for(kube: Kube) -> None:
    env = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "later", "key": "key"}}}]
    kube.core.create_namespaced_pod(NAMESPACE, pod("needs", "pass", env=env))

    def waiting() -> bool:
        statuses = kube.core.read_namespaced_pod("needs", NAMESPACE).status.container_statuses
        return bool(statuses) and statuses[0].state.waiting.reason == "CreateContainerConfigError"

    eventually(waiting, "it waits")
    kube.core.create_namespaced_secret(NAMESPACE, {"metadata": {"name": "later"}, "stringData": {"key": "x"}})
    assert finished(kube, "needs").exit_code == 0


def test_a_mounted_secret_that_is_missing_is_told_in_events_only(kube: Kube) -> None:
    volumes = [{"name": "tls", "secret": {"secretName": "gone"}}]
    mounts = [{"name": "tls", "mountPath": "/etc/tls"}]
    kube.core.create_namespaced_pod(NAMESPACE, pod("mounts", "pass", volumes=volumes, volumeMounts=mounts))

    def told() -> bool:
        events = kube.core.list_namespaced_event(NAMESPACE, field_selector="involvedObject.name=mounts").items
        return any(e.reason == "FailedMount" and e.message.endswith('secret "gone" not found') for e in events)

    eventually(told, "the kubelet says so")
    state = kube.core.read_namespaced_pod("mounts", NAMESPACE).status.container_statuses[0].state
    assert (state.waiting.reason, state.waiting.message or "") == ("ContainerCreating", "")
    kube.core.create_namespaced_secret(NAMESPACE, {"metadata": {"name": "gone"}, "stringData": {"key": "x"}})
    assert finished(kube, "mounts").exit_code == 0


def test_over_its_memory_limit_is_killed_as_such(kube: Kube) -> None:
    program = "x = bytearray(200 << 20); import time; time.sleep(600)"
    kube.core.create_namespaced_pod(NAMESPACE, pod("big", program, resources={"limits": {"memory": "100Mi"}}))
    state = finished(kube, "big")
    assert (state.exit_code, state.reason) == (137, "OOMKilled")


def test_image_and_node_trouble_show_as_on_a_cluster(kube: Kube) -> None:
    kube.core.create_namespaced_pod(NAMESPACE, pod("pull", "pass", image="x/does-not-exist:1"))
    kube.core.create_namespaced_pod(NAMESPACE, pod("place", "pass", nodeSelector={"f1.test/unschedulable": "1"}))

    def pulling() -> Any:
        statuses = kube.core.read_namespaced_pod("pull", NAMESPACE).status.container_statuses
        return statuses and statuses[0].state.waiting.reason == "ImagePullBackOff"

    def unscheduled() -> Any:
        conditions = kube.core.read_namespaced_pod("place", NAMESPACE).status.conditions
        return [c for c in conditions or [] if c.reason == "Unschedulable"]

    eventually(pulling, "ImagePullBackOff")
    eventually(unscheduled, "Unschedulable")
    events = kube.core.list_namespaced_event(NAMESPACE, field_selector="involvedObject.name=place").items
    assert "FailedScheduling" in {e.reason for e in events}


def test_eviction_says_so_in_the_pods_conditions(kube: Kube) -> None:
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    kube.core.create_namespaced_pod(NAMESPACE, pod("evicted", program, terminationGracePeriodSeconds=30))
    eventually(lambda: "up" in _log(kube, "evicted"), "it runs")
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name="evicted"))
    kube.core.create_namespaced_pod_eviction("evicted", NAMESPACE, eviction)
    found = kube.core.read_namespaced_pod("evicted", NAMESPACE)
    assert "DisruptionTarget" in {c.type for c in found.status.conditions}
    assert found.metadata.deletion_timestamp is not None


def test_a_pod_on_a_node_that_does_not_answer_is_replaced_once_somebody_says_that_it_failed(tmp_path: Path) -> None:
    tolerations = [{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}]
    body = job("cut-off", "import time; time.sleep(600)", 1, podReplacementPolicy="Failed")
    body["spec"]["template"]["spec"] |= {"tolerations": tolerations, "terminationGracePeriodSeconds": 1}
    with running_kubernetes(tmp_path, "--nodes", "2") as cluster:
        api = config.new_client_from_config(cluster.kubeconfig)
        kube = Kube(client.CoreV1Api(api), client.BatchV1Api(api), cluster)
        kube.batch.create_namespaced_job(NAMESPACE, body)
        first = eventually(lambda: running_pod(kube, "cut-off"), "it runs")
        node = first.spec.node_name
        assert first.metadata.name.startswith("cut-off-0-")
        kube.core.patch_node(node, {"spec": {"taints": [{"key": UNREACHABLE, "effect": "NoExecute"}]}})
        name = first.metadata.name

        def given_up() -> bool:
            found = kube.core.read_namespaced_pod(name, NAMESPACE)
            reasons = [c.reason for c in found.status.conditions if c.type == "DisruptionTarget"]
            return found.metadata.deletion_timestamp is not None and reasons == ["DeletionByTaintManager"]

        eventually(given_up, "it is given up")
        assert [p.metadata.name for p in pods_of(kube, "cut-off")] == [name], "its index stays taken"
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": "another"}}
        with pytest.raises(client.ApiException, match="409"):
            kube.core.delete_namespaced_pod(name, NAMESPACE, body=options)
        options["preconditions"] = {"uid": first.metadata.uid}
        kube.core.delete_namespaced_pod(name, NAMESPACE, body=options)
        assert [p.status.phase for p in pods_of(kube, "cut-off")] == ["Running"], "force alone does not free the index"
        kube.core.patch_namespaced_pod_status(name, NAMESPACE, {"status": {"phase": "Failed"}})
        kube.core.delete_namespaced_pod(name, NAMESPACE, body=options)
        second = eventually(lambda: running_pod(kube, "cut-off"), "its replacement runs")
        assert second.metadata.name != name
        assert second.spec.node_name not in (None, node)


def running_pod(kube: Kube, job_name: str) -> client.V1Pod | None:
    found = [p for p in pods_of(kube, job_name) if p.status.phase == "Running" and not p.metadata.deletion_timestamp]
    return found[0] if found else None


def test_names_of_services_resolve_inside_pods(kube: Kube) -> None:
    service = {
        "metadata": {"name": "chief"},
        "spec": {"clusterIP": "None", "selector": {"app": "chief"}, "ports": [{"port": 80}]},
    }
    service["spec"]["publishNotReadyAddresses"] = True  # type: ignore[index]
    kube.core.create_namespaced_service(NAMESPACE, service)
    kube.core.create_namespaced_pod(NAMESPACE, pod("named", "import time; time.sleep(600)", {"app": "chief"}))
    program = """
        import socket, time
        for _ in range(200):
            try:
                print(socket.getaddrinfo("chief.f1-training.svc", 80)[0][4][0])
                break
            except OSError:
                time.sleep(0.05)
    """
    kube.core.create_namespaced_pod(NAMESPACE, pod("asks", program))
    finished(kube, "asks")
    assert _log(kube, "asks").strip() == kube.core.read_namespaced_pod("named", NAMESPACE).status.pod_ip


def test_a_watch_misses_nothing_since_the_list(kube: Kube) -> None:
    at = kube.core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    kube.core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "seen"}, "data": {"a": "1"}})
    kube.core.delete_namespaced_config_map("seen", NAMESPACE)
    stream = watch.Watch().stream(
        kube.core.list_namespaced_config_map, NAMESPACE, resource_version=at, timeout_seconds=1
    )
    assert [(e["type"], e["object"].metadata.name) for e in stream] == [("ADDED", "seen"), ("DELETED", "seen")]


def test_logs_follow_to_the_end(kube: Kube) -> None:
    program = "import time\nfor i in 'abc': print(i, flush=True); time.sleep(0.1)"
    kube.core.create_namespaced_pod(NAMESPACE, pod("talks", program))
    eventually(lambda: kube.core.read_namespaced_pod("talks", NAMESPACE).status.phase != "Pending", "it starts")
    assert log_of(kube.core, "talks", follow=True) == "a\nb\nc\n"
    assert log_of(kube.core, "talks", tail_lines=1) == "c\n"


@pytest.mark.parametrize(
    ("call", "status", "reason"),
    [
        (lambda k: k.core.read_namespaced_pod("none", NAMESPACE), 404, "NotFound"),
        (lambda k: k.core.create_namespaced_pod("nowhere", pod("p", "pass")), 404, "NotFound"),
        (lambda k: k.core.create_namespaced_pod(NAMESPACE, pod("P", "pass")), 422, "Invalid"),
        (lambda k: k.batch.create_namespaced_job(NAMESPACE, job("j", "pass", notAField=1)), 422, "Invalid"),
    ],
)
def test_refusals_are_a_clusters(kube: Kube, call: Callable[[Kube], Any], status: int, reason: str) -> None:
    with pytest.raises(client.ApiException) as caught:
        call(kube)
    assert caught.value.status == status
    assert f'"reason": "{reason}"' in caught.value.body


def test_created_twice_is_refused_by_name(kube: Kube) -> None:
    body = {"metadata": {"name": "twice"}}
    kube.core.create_namespaced_config_map(NAMESPACE, body)
    with pytest.raises(client.ApiException, match="AlreadyExists"):
        kube.core.create_namespaced_config_map(NAMESPACE, body)


def test_no_pod_outlives_a_killed_server(tmp_path: Path) -> None:
    with running_kubernetes(tmp_path) as cluster:
        core = client.CoreV1Api(config.new_client_from_config(cluster.kubeconfig))
        core.create_namespaced_pod(
            "default", pod("p", "import os, time; print(os.getpid(), flush=True); time.sleep(600)")
        )

        def said() -> str:
            try:
                return log_of(core, "p", "default")
            except client.ApiException:
                return ""

        pid = int(eventually(said, "it runs"))
        os.kill(cluster.pid, signal.SIGKILL)
        eventually(lambda: ended_process(pid), "its process is gone")


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "composer.local.kubernetes", "--data-dir", str(tmp_path), "--port", str(port)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == os.EX_UNAVAILABLE
    assert done.stderr.startswith(f"error: port {port} for the Kubernetes API is in use")
