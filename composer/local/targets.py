"""Which pods Prometheus scrapes, for its discovery over HTTP: Debian's is built without the one of Kubernetes.

The selection is that of the cluster's PodMonitoring (composer/k8s/managed-prometheus), and so are the labels.
"""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: Chiefs and workers: evaluations serve nothing.
PODS = "app.kubernetes.io/name=f1-training,app.kubernetes.io/component in (chief,worker)"
PORT_NAME = "health"
ANSWER_S = 3.0


def pods(server: str, namespace: str) -> Sequence[Mapping[str, Any]]:
    """Pods of ``namespace`` that the stand-in of Kubernetes at ``server`` lists; it wants no credentials.

    Raises:
        OSError: it does not answer.
    """
    words = urllib.parse.urlencode({"labelSelector": PODS})
    url = f"{server}/api/v1/namespaces/{namespace}/pods?{words}"
    with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:  # noqa: S310 - our own server's address
        found: list[Mapping[str, Any]] = json.load(answer)["items"]
    return found


def targets(listed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Prometheus' ``http_sd`` document: the health port of every pod that has an address and has not ended."""
    return [
        {"targets": [f"{pod['status']['podIP']}:{port}"], "labels": {**_labels(pod), "container": container}}
        for pod in listed
        for container, port in _ports(pod)
    ]


def _ports(pod: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    status = pod.get("status") or {}
    if not status.get("podIP") or status.get("phase") in ("Succeeded", "Failed"):
        return
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or ():
            if port.get("name") == PORT_NAME:
                yield container["name"], port["containerPort"]


def _labels(pod: Mapping[str, Any]) -> dict[str, str]:
    return {"namespace": pod["metadata"]["namespace"], "pod": pod["metadata"]["name"]}
