"""What the API server says about itself: its health, its version, and which resources it serves."""

from __future__ import annotations

from typing import Any

from composer.local.kubernetes.store import Object

#: Resource: kind, API version, whether it has a namespace.
RESOURCES = {
    "pods": ("Pod", "v1", True),
    "services": ("Service", "v1", True),
    "secrets": ("Secret", "v1", True),
    "configmaps": ("ConfigMap", "v1", True),
    "events": ("Event", "v1", True),
    "resourcequotas": ("ResourceQuota", "v1", True),
    "serviceaccounts": ("ServiceAccount", "v1", True),
    "namespaces": ("Namespace", "v1", False),
    "nodes": ("Node", "v1", False),
    "jobs": ("Job", "batch/v1", True),
}
VERSION = {"major": "1", "minor": "33", "gitVersion": "v1.33.0+stand-in", "platform": "linux/amd64"}


def answer(path: str) -> Any:
    """What ``path`` always answers; None where it is no such path."""
    if path in ("/healthz", "/readyz", "/livez"):
        return b"ok"
    if path == "/version":
        return VERSION
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        version = {"groupVersion": "batch/v1", "version": "v1"}
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(version)]}
    if path in ("/api/v1", "/apis/batch/v1"):
        served = path.removeprefix("/api/").removeprefix("/apis/")
        return {"kind": "APIResourceList", "groupVersion": served, "resources": _listed(served)}
    return None


def _group(version: dict[str, str]) -> Object:
    return {"name": "batch", "versions": [version], "preferredVersion": version}


def _listed(version: str) -> list[Object]:
    verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    short = {
        "pods": ["po"],
        "services": ["svc"],
        "namespaces": ["ns"],
        "events": ["ev"],
        "configmaps": ["cm"],
        "nodes": ["no"],
    }
    return [
        {
            "name": name,
            "singularName": kind.lower(),
            "namespaced": namespaced,
            "kind": kind,
            "verbs": verbs,
            "shortNames": short.get(name, []),
        }
        for name, (kind, own, namespaced) in RESOURCES.items()
        if own == version
    ]
