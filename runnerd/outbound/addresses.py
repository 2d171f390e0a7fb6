"""Which addresses may be dialled.

The decision is made about the very address that is connected to, never about a name that could
mean something else a moment later (DNS rebinding), and about what an address *reaches*: one that
carries another inside (v4-mapped, 6to4, NAT64, Teredo) is internal when that one is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from runnerd.errors import StartupError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = (
    ipaddress.IPv6Network("64:ff9b::/96"),
    ipaddress.IPv6Network("64:ff9b:1::/48"),  # local use: where it leads is not ours to know
)
_SPECIAL = ipaddress.IPv4Network("192.0.0.0/24")  # protocols' own; Python changed its mind on it
_LOCAL_ZONES = frozenset({
    "localhost", "local", "internal", "intranet", "private", "corp", "home", "lan", "localdomain",
    "invalid", "test", "onion",
})  # fmt: skip
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def is_internal(address: Address) -> bool:
    """Say whether an address is anything but an ordinary one of the public internet.

    That covers loopback, private, link-local (cloud metadata), shared (CGNAT), unique local,
    multicast, reserved and unspecified addresses.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _NAT64):
            return True
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _COMPATIBLE:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_internal(inner)
        if address.teredo is not None or address.is_site_local:
            return True
    elif address in _SPECIAL:
        return True
    return not address.is_global or address.is_multicast or address.is_reserved


@dataclass(frozen=True, slots=True)
class AllowedSources:
    """Hosts and networks that the owner trusts although they are not public."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> AllowedSources:
        """What a setting's entries (host names, addresses, CIDRs) allow.

        Raises errors.StartupError for an entry that is none of them.
        """
        hosts, networks = set(), []
        for entry in entries:
            try:
                networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                hosts.add(_host(entry))
        return cls(frozenset(hosts), tuple(networks))

    def names(self, host: str) -> bool:
        """Say whether a host is allowed by its name."""
        return host.lower().rstrip(".") in self.hosts

    def permits(self, host: str, address: Address) -> bool:
        """Say whether `host`, found at `address`, may be dialled."""
        return not is_internal(address) or self.trusts(host, address)

    def trusts(self, host: str, address: Address) -> bool:
        """Say whether the owner listed this host or this address."""
        if self.names(host):
            return True
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.networks)


def is_local_name(host: str) -> bool:
    """Say whether a name means something inside of some network only, whoever resolves it."""
    labels = host.lower().rstrip(".").split(".")
    return len(labels) < 2 or labels[-1] in _LOCAL_ZONES or labels[-2:] == ["home", "arpa"]


def literal(host: str) -> Address | None:
    """Return the address that a URL's host is written as, None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _host(entry: str) -> str:
    name = entry.lower().rstrip(".")
    plain = name.replace("-", "").replace(".", "").replace("_", "")
    if not plain.isascii() or not plain.isalnum():
        raise StartupError(
            f"allowed_sources: {entry!r} is neither a host name nor an address or network"
            " such as 10.0.0.0/8"
        )
    return name
