"""Cluster DNS for processes on one machine: names that end in ``.svc`` are looked up in the kubelet's hosts file.

The kubelet puts this folder first on a pod's PYTHONPATH. Every other name goes the ordinary way.
"""

import importlib.machinery
import os
import socket
import sys

_HOSTS = os.environ.get("KUBERNETES_STAND_IN_HOSTS", "")
_getaddrinfo = socket.getaddrinfo


def _resolve(host):
    if not isinstance(host, str) or ".svc" not in host:
        return host
    try:
        with open(_HOSTS, encoding="utf-8") as lines:
            table = dict(reversed(line.split()) for line in lines if line.strip())
    except OSError:
        return host
    return table.get(host.removesuffix(".").removesuffix(".cluster.local"), host)


def _lookup(host, *arguments, **options):
    return _getaddrinfo(_resolve(host), *arguments, **options)


if _HOSTS:
    socket.getaddrinfo = _lookup

_here = os.path.dirname(os.path.abspath(__file__))
_others = [p for p in sys.path if os.path.abspath(p or ".") != _here]
_spec = importlib.machinery.PathFinder.find_spec("sitecustomize", _others)
if _spec is not None and _spec.loader is not None:
    import importlib.util

    _spec.loader.exec_module(importlib.util.module_from_spec(_spec))
