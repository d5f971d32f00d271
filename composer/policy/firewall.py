"""Whether a packet gets through: the VPC's firewall rules, then the network's policy, then what every VPC implies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from composer.policy.plan import Resource

ANY = "all"


@dataclass(frozen=True, kw_only=True)
class End:
    """One end of a connection. ``host`` is the name that a policy's rules may know; tag and account are of our VMs."""

    address: str
    host: str = ""
    tags: frozenset[str] = frozenset()
    account: str = ""


@dataclass(frozen=True, kw_only=True)
class Packet:
    """The first packet of a connection; what answers it is let through, as firewalls have state."""

    source: End
    destination: End
    protocol: str = "tcp"
    port: int = 0


@dataclass(frozen=True)
class Rule:
    """A rule of either kind. Empty ranges, hosts, tags or accounts ask for nothing."""

    name: str
    direction: str
    priority: int
    allows: bool
    layers: Sequence[tuple[str, Sequence[str]]]
    sources: Sequence[str] = ()
    destinations: Sequence[str] = ()
    hosts: Sequence[str] = ()
    tags: Sequence[str] = ()
    accounts: Sequence[str] = ()

    def applies(self, packet: Packet, direction: str) -> bool:
        """Whether it has a say on ``packet``, seen from the end that ``direction`` is of."""
        target = packet.destination if direction == "INGRESS" else packet.source
        return (
            self.direction == direction
            and (not self.tags or bool(target.tags & set(self.tags)))
            and (not self.accounts or target.account in self.accounts)
            and (not self.sources or _within(packet.source.address, self.sources))
            and self._reaches(packet.destination)
            and any(_covers(layer, packet) for layer in self.layers)
        )

    def _reaches(self, destination: End) -> bool:
        if self.hosts and destination.host in self.hosts:
            return True
        if self.destinations:
            return _within(destination.address, self.destinations)
        return not self.hosts


@dataclass(frozen=True)
class Firewall:
    """All rules of a network."""

    rules: Sequence[Rule]
    policy: Sequence[Rule]

    def lets_in(self, packet: Packet) -> bool:
        """Whether the receiving end's rules let ``packet`` in; a VPC by itself does not."""
        return self._decide(packet, "INGRESS", otherwise=False)

    def lets_out(self, packet: Packet) -> bool:
        """Whether the sending end's rules let it out; a VPC by itself does."""
        return self._decide(packet, "EGRESS", otherwise=True)

    def connects(self, packet: Packet) -> bool:
        """Both."""
        return self.lets_out(packet) and self.lets_in(packet)

    def _decide(self, packet: Packet, direction: str, *, otherwise: bool) -> bool:
        for rules in (self.rules, self.policy):
            found = [rule for rule in rules if rule.applies(packet, direction)]
            if found:
                # At equal priority deny wins.
                return min(found, key=lambda rule: (rule.priority, rule.allows)).allows
        return otherwise


def firewall_of(resources: Iterable[Resource]) -> Firewall:
    """The rules of the plan."""
    found = list(resources)
    return Firewall(
        [_rule(r) for r in found if r.type == "google_compute_firewall"],
        [_policy_rule(r) for r in found if r.type == "google_compute_network_firewall_policy_rule"],
    )


def _rule(resource: Resource) -> Rule:
    said = resource.get("allow", []), resource.get("deny", [])
    if bool(said[0]) == bool(said[1]):
        raise ValueError(f"{resource.address} must either allow or deny")
    return Rule(
        name=resource["name"],
        direction=resource.get("direction", "INGRESS"),
        priority=int(resource.get("priority", 1000)),
        allows=bool(said[0]),
        layers=[_layer(layer, "protocol") for layer in (said[0] or said[1])],
        sources=resource.get("source_ranges", ()),
        destinations=resource.get("destination_ranges", ()),
        tags=resource.get("target_tags", ()),
        accounts=resource.get("target_service_accounts", ()),
    )


def _policy_rule(resource: Resource) -> Rule:
    match = resource.one("match")
    return Rule(
        name=resource["rule_name"],
        direction=resource["direction"],
        priority=int(resource["priority"]),
        allows=resource["action"] == "allow",
        layers=[_layer(layer, "ip_protocol") for layer in match["layer4_configs"]],
        sources=match.get("src_ip_ranges", ()),
        destinations=match.get("dest_ip_ranges", ()),
        hosts=match.get("dest_fqdns", ()),
        accounts=resource.get("target_service_accounts", ()),
    )


def _layer(layer: Mapping[str, Any], protocol: str) -> tuple[str, Sequence[str]]:
    return layer[protocol], layer.get("ports", ())


def _covers(layer: tuple[str, Sequence[str]], packet: Packet) -> bool:
    protocol, ports = layer
    if protocol not in (ANY, packet.protocol):
        return False
    bounds = [port.partition("-") for port in ports]
    return not bounds or any(int(first) <= packet.port <= int(last or first) for first, _, last in bounds)


def _within(address: str, ranges: Sequence[str]) -> bool:
    return any(ip_address(address) in ip_network(cidr) for cidr in ranges)
