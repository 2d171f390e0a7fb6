"""Who may talk to the daemon at all, decided from the head alone.

A page in somebody's browser can reach a loopback port: by DNS rebinding (a foreign name in Host)
and by cross-site requests (a foreign Origin).  Both are refused before any handler runs.  The Unix
socket has file permissions instead, and no names.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from runnerd.errors import ClientError, Forbidden

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?\Z")
_LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})


class Admission:
    """Holds the names by which the daemon may be addressed and the origins that it accepts.

    `hosts` are further host names beside the loopback ones and the addresses it is bound to;
    `origins` are exact browser origins such as `https://chat.example.org`.
    """

    def __init__(self, *, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._hosts = _LOOPBACK_NAMES | {host.lower().rstrip(".") for host in hosts}
        self._origins = frozenset(origin.rstrip("/") for origin in origins)
        self._known_good: set[bytes] = set()

    def check_host(self, host: bytes | None) -> None:
        """Refuse a Host header that is malformed (400) or names another machine (403)."""
        if host is not None and host in self._known_good:
            return
        if host is None or not _HOST.match(host):
            raise ClientError("missing or malformed Host header")
        name = host.decode("ascii").lower()
        name = name[1:].split("]")[0] if name.startswith("[") else name.split(":")[0]
        if name.rstrip(".") not in self._hosts and not _is_loopback(name):
            raise Forbidden(
                f"host {name!r} is not one of this daemon's names; add it to allowed_hosts"
            )
        if len(self._known_good) < 64:
            self._known_good.add(host)

    def check_origin(self, origin: bytes | None, fetch_site: bytes | None) -> None:
        """Refuse a browser's request that comes from a page not on the list (403)."""
        if origin is None:
            if fetch_site == b"cross-site":
                raise Forbidden("cross-site requests need an Origin on allowed_origins")
            return
        if origin.decode("latin-1") not in self._origins:
            raise Forbidden("origin not allowed; add it to allowed_origins")


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
