"""Network namespaces for workers: a cable each, which can be pulled out. Needs root and ``ip``."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from dataclasses import dataclass, field

MOST_WORKERS = 9


def why_not() -> str:
    """Why namespaces cannot be had here; empty when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need the command ip (Debian package iproute2)"
    name = f"f1t{uuid.uuid4().hex[:6]}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False, timeout=20)
    if made.returncode:
        return f"the kernel gives no network namespace: {made.stderr.strip()}"
    _ip("netns", "delete", name)
    return ""


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=20)


@dataclass
class Network:
    """A bridge in the chief's own namespace, and one namespace a worker, made when it is first asked for."""

    name: str = field(default_factory=lambda: uuid.uuid4().hex[:6])
    _workers: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        # A subnet of its own, so that two tests may run side by side.
        self._subnet = f"10.{200 + int(self.name[:2], 16) % 50}.{int(self.name[2:4], 16)}"
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("address", "add", f"{self.host}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")

    @property
    def host(self) -> str:
        """The chief's address."""
        return f"{self._subnet}.1"

    @property
    def _bridge(self) -> str:
        return f"f1b{self.name}"

    def address(self, worker: int) -> str:
        """The address of ``worker``."""
        return f"{self._subnet}.{10 + worker}"

    def prefix(self, worker: int) -> list[str]:
        """The command that runs a program where ``worker`` lives."""
        if worker not in self._workers:
            self._add(worker)
        return ["ip", "netns", "exec", self._namespace(worker)]

    def cut(self, *workers: int) -> None:
        """Pull out the cables of ``workers``."""
        for worker in workers:
            _ip("link", "set", self._cable(worker), "down")

    def mend(self, *workers: int) -> None:
        """Plug them in again."""
        for worker in workers:
            _ip("link", "set", self._cable(worker), "up")

    def close(self) -> None:
        """Leave nothing: a namespace takes its end of the cable along, and that the other."""
        for worker in self._workers:
            _ip("netns", "delete", self._namespace(worker))
        _ip("link", "delete", self._bridge)

    def _namespace(self, worker: int) -> str:
        return f"f1n{self.name}-{worker}"

    def _cable(self, worker: int) -> str:
        return f"f1v{self.name}{worker}"

    def _add(self, worker: int) -> None:
        namespace, cable, inside = self._namespace(worker), self._cable(worker), f"f1i{self.name}{worker}"
        _ip("netns", "add", namespace)
        self._workers.add(worker)
        _ip("link", "add", cable, "type", "veth", "peer", "name", inside)
        _ip("link", "set", cable, "master", self._bridge, "up")
        _ip("link", "set", inside, "netns", namespace)
        _ip("-n", namespace, "address", "add", f"{self.address(worker)}/24", "dev", inside)
        _ip("-n", namespace, "link", "set", inside, "up")
        _ip("-n", namespace, "link", "set", "lo", "up")
