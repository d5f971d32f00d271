"""Who reaches whom under NetworkPolicies, as the API's reference defines it (TCP and UDP, IPv4)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Manifest = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A pod (``namespace`` and ``labels``), or an address outside of the cluster (no ``namespace``)."""

    address: str
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def reaches(policies: Iterable[Manifest], source: Endpoint, target: Endpoint, port: int, protocol: str = "TCP") -> bool:
    """Whether ``source`` may open a connection to ``target``."""
    made = [p for p in policies if p["kind"] == "NetworkPolicy"]
    out = _lets(made, source, target, port, protocol, "Egress")
    return out and _lets(made, target, source, port, protocol, "Ingress")


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects ``labels``; an empty one selects everything."""
    expressions = selector.get("matchExpressions", [])
    assert all(e["operator"] == "In" for e in expressions), "only In is understood here"
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(e["key"]) in e["values"] for e in expressions
    )


def _lets(policies: list[Manifest], pod: Endpoint, other: Endpoint, port: int, protocol: str, direction: str) -> bool:
    applying = [
        p["spec"]
        for p in policies
        if p["metadata"]["namespace"] == pod.namespace
        and direction in p["spec"]["policyTypes"]
        and selects(p["spec"]["podSelector"], pod.labels)
    ]
    rules, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    return not applying or any(
        _is_port(rule.get("ports"), port, protocol)
        and (peers not in rule or any(_is_peer(peer, other, pod.namespace) for peer in rule[peers]))
        for spec in applying
        for rule in spec.get(rules, [])
    )


def _is_port(ports: list[Mapping[str, Any]] | None, port: int, protocol: str) -> bool:
    return ports is None or any(
        p.get("protocol", "TCP") == protocol and p.get("port", port) <= port <= p.get("endPort", p.get("port", port))
        for p in ports
    )


def _is_peer(peer: Mapping[str, Any], other: Endpoint, namespace: str) -> bool:
    if "ipBlock" in peer:
        address, block = ipaddress.ip_address(other.address), peer["ipBlock"]
        left_out = any(address in ipaddress.ip_network(n) for n in block.get("except", []))
        return address in ipaddress.ip_network(block["cidr"]) and not left_out
    if not other.namespace:
        return False
    if "namespaceSelector" in peer:
        there = selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
    else:
        there = other.namespace == namespace
    return there and selects(peer.get("podSelector", {}), other.labels)
