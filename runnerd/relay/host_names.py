"""The names by which this daemon may be addressed in a Host header.

A foreign web page can have its own name resolved to this host (DNS rebinding): its browser then
takes our responses for that page's, but still sends the page's name.  So a name must be known to be
ours.  Addresses cannot be rebound, since no name stands behind them.

=====================================  =====================================================
always                                 localhost, *.localhost, loopback addresses, and what
                                       containers call the host that they run on
where we listen beyond loopback        the name that we were told to listen on, this machine's
                                       own name, alone or below a private domain; any address
what the owner lists                   NAME, *.DOMAIN, or * for every name
=====================================  =====================================================
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from runnerd.errors import StartupError

CONTAINERS_HOST = (
    "host.docker.internal",
    "gateway.docker.internal",
    "model-runner.docker.internal",
    "host.containers.internal",
)
_LOOPBACK = ("localhost", "ip6-localhost", "ip6-loopback")
_PRIVATE_DOMAINS = ("local", "lan", "internal", "home.arpa", "localdomain")
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\Z")


class HostNames:
    """Knows our names.  Raises StartupError for an entry of `allowed` that is no pattern.

    `bound` are the names and addresses that we listen on, `machine` is this host's own name.
    """

    def __init__(
        self, allowed: Iterable[str] = (), bound: Iterable[str] = (), machine: str = ""
    ) -> None:
        self._exact = set(_LOOPBACK)
        self._domains = [".localhost"]
        self._any_name = False
        self._any_address = False
        self._pages: set[str] = set()
        self._add_bound([name.lower() for name in bound], machine.lower().rstrip("."))
        for entry in allowed:
            self._allow(entry)

    def _add_bound(self, bound: list[str], machine: str) -> None:
        beyond = [name for name in bound if not _is_loopback(name) and name not in self._exact]
        if not beyond:
            return
        self._any_address = True
        short = machine.partition(".")[0]
        own = {machine, short, *(f"{short}.{domain}" for domain in _PRIVATE_DOMAINS if short)}
        self._pages |= {name.rstrip(".") for name in (*own, *beyond) if _NAME.match(name)}
        self._exact |= self._pages

    def _allow(self, entry: str) -> None:
        name = entry.strip().lower().rstrip(".")
        plain = name.removeprefix("*.")
        if name == "*":
            self._any_name = self._any_address = True
        elif (address := _address(name.strip("[]"))) is not None:
            self._pages.add(str(address))
        elif not _NAME.match(plain):
            raise StartupError(
                f"allowed_hosts: {entry!r} is not a host name: write NAME, *.DOMAIN, or * for"
                " every name, without scheme and port"
            )
        elif plain != name:
            self._domains.append(f".{plain}")
        else:
            self._pages.add(name)
        self._exact |= self._pages

    def __contains__(self, name: str) -> bool:
        """Whether a name or address without its port, in lower case, is ours."""
        address = _address(name)
        if address is not None:
            return self._any_address or address.is_loopback or str(address) in self._exact
        name = name.rstrip(".")
        return (
            self._any_name
            or name in self._exact
            or name in CONTAINERS_HOST
            or name.endswith(tuple(self._domains))
        )

    def is_page_host(self, name: str) -> bool:
        """Whether a page at this name of ours can be nobody else's: no wildcard let it in."""
        return name.rstrip(".") in self._pages or (self._any_address and _address(name) is not None)

    def __str__(self) -> str:
        names = [*_LOOPBACK[:1], *sorted(self._pages), *(f"*{domain}" for domain in self._domains)]
        addresses = "any address" if self._any_address else "loopback addresses"
        every = ["any name"] if self._any_name else []
        return ", ".join([*every, *names, *CONTAINERS_HOST, addresses])


def host_of(value: str) -> str:
    """Return the name or address of a Host header, in lower case, without port and brackets."""
    value = value.lower()
    return value[1:].split("]")[0] if value.startswith("[") else value.split(":")[0]


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_loopback(name: str) -> bool:
    address = _address(name)
    return address is not None and address.is_loopback
