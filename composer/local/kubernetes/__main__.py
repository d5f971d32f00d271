"""``python -m composer.local.kubernetes``: serve until SIGTERM; pods end with the server, however it ends."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from composer.local.kubernetes.controllers import Controllers
from composer.local.kubernetes.kubelet import Kubelet
from composer.local.kubernetes.podspec import Node
from composer.local.kubernetes.server import Api, Server
from composer.local.kubernetes.store import Key, Store, now

PR_SET_PDEATHSIG = 1
NAMESPACES = ("default", "kube-system", "f1-training")
BYTECODE = ("PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE")


def main() -> int:
    """Parse the command line and serve."""
    arguments = _parser().parse_args()
    if arguments.die_with_parent:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    pods = arguments.data_dir / "pods"
    shutil.rmtree(pods, ignore_errors=True)  # of an instance that was killed
    pods.mkdir(parents=True)
    store = Store()
    controllers = Controllers(store, backoff_s=arguments.job_backoff_s)
    # Pods import the repository's own files here: where bytecode goes holds for them too.
    bytecode = {name: os.environ[name] for name in BYTECODE if os.environ.get(name)}
    environment = bytecode | dict(pair.split("=", 1) for pair in arguments.pod_env)
    hosts = arguments.data_dir / "hosts"
    node = Node(folder=pods, python=arguments.python, hosts=hosts, pod_environment=environment)
    kubelet = controllers.kubelet = Kubelet(store, node, controllers.record, controllers.forget_pod)
    api = Api(store, controllers, kubelet, denied=arguments.deny)
    try:
        server = Server(arguments.port, api)
    except OSError as e:
        print(f"error: port {arguments.port} for the Kubernetes API is in use: choose another ({e})", file=sys.stderr)
        return os.EX_UNAVAILABLE
    _populate(store, arguments.nodes)

    def stop(_number: int, _frame: FrameType | None) -> None:
        api.stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    threading.Thread(target=controllers.run, args=(api.stop,), daemon=True).start()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _announce(arguments, f"http://127.0.0.1:{server.server_address[1]}")
    api.stop.wait()
    kubelet.stop()
    server.shutdown()
    return os.EX_OK


def _populate(store: Store, count: int) -> None:
    for name in NAMESPACES:
        body = {"apiVersion": "v1", "kind": "Namespace", "status": {"phase": "Active"}}
        store.create(Key("namespaces", "", name), body)
        account = {"apiVersion": "v1", "kind": "ServiceAccount"}
        store.create(Key("serviceaccounts", name, "default"), account)
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now()}
    status = {"conditions": [ready], "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}
    for number in range(1, count + 1):
        # Pods of all nodes are processes of this machine: several nodes are for losing one.
        name = "local" if number == 1 else f"local-{number}"
        body = {"apiVersion": "v1", "kind": "Node", "spec": {}, "status": status}
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
        store.create(Key("nodes", "", name), {**body, "metadata": {"name": name, "labels": labels}})


def _announce(arguments: argparse.Namespace, url: str) -> None:
    kubeconfig = arguments.kubeconfig or arguments.data_dir / "kubeconfig"
    named = {"name": "stand-in"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "stand-in",
        "clusters": [{**named, "cluster": {"server": url}}],
        "users": [{**named, "user": {"token": "stand-in"}}],
        "contexts": [{**named, "context": {"cluster": "stand-in", "user": "stand-in"}}],
    }
    _write(kubeconfig, json.dumps(config))
    ready = json.dumps({"server": url, "kubeconfig": str(kubeconfig)})
    print(ready, flush=True)
    if arguments.ready_file:
        _write(arguments.ready_file, ready)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="composer.local.kubernetes", description=__doc__)
    parser.add_argument("--data-dir", type=lambda t: Path(t).resolve(), required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--kubeconfig", type=Path)
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--die-with-parent", action="store_true")
    parser.add_argument("--python", default=sys.executable, help="what `python` is in a pod")
    parser.add_argument("--pod-env", action="append", default=[], metavar="NAME=VALUE", help="added to every pod")
    parser.add_argument(
        "--deny", action="append", default=[], metavar="'VERB RESOURCE'", help="such as 'create secrets'"
    )
    parser.add_argument("--nodes", type=int, default=1, help="how many nodes there are")
    parser.add_argument("--job-backoff-s", type=float, default=10.0, help="delay of an index's first replacement")
    return parser


if __name__ == "__main__":
    sys.exit(main())
