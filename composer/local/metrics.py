"""``make metrics``: what the pods of the runs on this machine say of themselves to Prometheus."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from composer.local.places import Places
from composer.local.running import NAMESPACE, running_stack
from composer.local.targets import PODS
from f1_training.kubernetes.podspec import HEALTH_PORT

ANSWER_S = 5.0


def pages(kubeconfig: str) -> Iterator[tuple[str, str]]:
    """Name and page of every pod that answers; one that just began or ended is left out."""
    from kubernetes import client, config

    core = client.CoreV1Api(config.new_client_from_config(kubeconfig))
    pods: Any = core.list_namespaced_pod(NAMESPACE, label_selector=PODS, _request_timeout=ANSWER_S)
    for pod in pods.items:
        if pod.status.phase != "Running":
            continue
        try:
            url = f"http://{pod.status.pod_ip}:{HEALTH_PORT}/metrics"
            with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
                yield pod.metadata.name, answer.read().decode()
        except (urllib.error.URLError, OSError):
            continue


def main() -> int:
    """Print the pages of all pods that run."""
    info = running_stack(Places.default())
    if info is None:
        print("error: nothing is up: start it with `make up`", file=sys.stderr)
        return os.EX_UNAVAILABLE
    found = 0
    for found, (name, page) in enumerate(pages(info.kubeconfig), 1):  # noqa: B007 - the count is wanted after
        print(f"### {name}\n{page}")
    if not found:
        print("no pod of a run is there: trigger f1_training, and ask again while it trains")
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
