"""Addresses and names of pods. Here: one loopback address a pod (127/8 is all loopback), names in a hosts file."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from composer.local.kubernetes.selectors import has_labels


class LoopbackNetwork:
    """Gives pods addresses from a part of 127/8, so that fixed ports never collide."""

    def __init__(self, hosts: Path) -> None:
        self._hosts = hosts
        self._lock = threading.Lock()
        self._next = 1
        # Several stand-ins may run on one machine; each takes a part of 127/8 of its own.
        self._part = 64 + os.getpid() % 180
        self._taken: set[str] = set()

    def take(self) -> str:
        """An address that no running pod has."""
        with self._lock:
            while True:
                self._next = self._next % 65_000 + 1
                address = f"127.{self._part}.{self._next // 250}.{self._next % 250 + 1}"
                if address not in self._taken:
                    self._taken.add(address)
                    return address

    def give_back(self, address: str) -> None:
        """The pod has ended."""
        with self._lock:
            self._taken.discard(address)

    def write_hosts(self, services: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]]) -> None:
        """Names of Services and of pods behind headless Services, each with the address it resolves to."""
        lines = []
        for service in services:
            namespace = service["metadata"]["namespace"]
            name = f"{service['metadata']['name']}.{namespace}.svc"
            selector = service["spec"].get("selector") or {}
            early = service["spec"].get("publishNotReadyAddresses", False)
            behind = [p for p in pods if p["metadata"]["namespace"] == namespace and has_labels(p, selector)]
            for pod in behind:
                status = pod.get("status") or {}
                if status.get("phase") != "Running" or not (early or _ready(status)):
                    continue
                lines.append(f"{status['podIP']} {name}")
                if pod["spec"].get("hostname"):
                    lines.append(f"{status['podIP']} {pod['spec']['hostname']}.{name}")
        temporary = self._hosts.with_suffix(f".{threading.get_ident()}")
        temporary.write_text("\n".join(lines) + "\n")
        os.replace(temporary, self._hosts)


def _ready(status: Mapping[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or [])
