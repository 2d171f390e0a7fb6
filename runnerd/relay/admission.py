"""Who may talk to the daemon at all, decided from the head alone.

A page in somebody's browser can reach a loopback port: by DNS rebinding (a foreign name in Host)
and by cross-site requests (a foreign Origin).  Both are refused before any handler runs.  The Unix
socket has file permissions instead, and no names.
"""

from __future__ import annotations

import logging
import re

from runnerd.errors import ClientError, Forbidden
from runnerd.logs import MAY_REPEAT
from runnerd.relay.host_names import HostNames, host_of
from runnerd.relay.origins import Origins, is_program

log = logging.getLogger(__name__)

EXPOSED = "X-Request-Id, Request-Id, Retry-After, X-Should-Retry, Warning, WWW-Authenticate"
"""The response headers that a page may read beside those that every page may."""

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?\Z")


class Admission:
    """Holds requests against the names by which we may be addressed and the origins we accept."""

    def __init__(self, hosts: HostNames | None = None, origins: Origins | None = None) -> None:
        self.hosts = hosts or HostNames()
        self._origins = origins or Origins()
        self._known_good: set[bytes] = set()

    def check_host(self, host: bytes | None) -> None:
        """Refuse a Host header that is malformed (400) or names another machine (403)."""
        if host is not None and host in self._known_good:
            return
        if host is None or not _HOST.match(host):
            raise ClientError("missing or malformed Host header")
        name = host_of(host.decode("ascii"))
        if name not in self.hosts:
            log.info(
                "refused a request for the host %s: not in allowed_hosts", name, extra=MAY_REPEAT
            )
            raise Forbidden(
                f"host {name!r} is not one of this daemon's names; its owner can add it:"
                f" RUNNERD_ALLOWED_HOSTS={name}, or allowed_hosts in its settings file"
            )
        if len(self._known_good) < 64:
            self._known_good.add(host)

    def check_origin(
        self,
        origin: bytes | None,
        fetch_site: bytes | None,
        host: bytes | None = None,
        *,
        preflight: bool = False,
    ) -> None:
        """Refuse a browser's request that comes from a page that is not allowed (403).

        `host` is the Host header, once that was checked.  The `preflight` of who may read the
        refusal passes: without it the browser would never send what is refused.
        """
        if origin is None:
            if fetch_site == b"cross-site" and not self._origins.any:
                raise Forbidden("cross-site requests need an Origin on allowed_origins")
            return
        text = origin.decode("latin-1")
        if self._allows(text, host) or (preflight and is_program(text)):
            return
        log.info("refused a page of %s: not in allowed_origins", text[:200], extra=MAY_REPEAT)
        raise Forbidden(
            f"pages of {text[:200]} may not use this daemon; its owner can allow them:"
            f" RUNNERD_ALLOWED_ORIGINS={text[:200]}, or allowed_origins in its settings file"
        )

    def cors_lines(self, origin: bytes | None, host: bytes | None) -> bytes:
        """Return the header lines that let a page read a response; none where it may not.

        Programs may read also that they are refused.  Web sites may not: they would learn that
        there is a daemon.
        """
        if origin is None:
            return b""
        text = origin.decode("latin-1")
        if not (self._allows(text, host) or is_program(text)):
            return b""
        return (
            b"Access-Control-Allow-Origin: %s\r\nVary: Origin\r\n"
            b"Access-Control-Expose-Headers: %s\r\n" % (origin, EXPOSED.encode())
        )

    def _allows(self, origin: str, host: bytes | None) -> bool:
        name = None if host is None else host_of(host.decode("latin-1"))
        if name is not None and not self.hosts.is_page_host(name):
            name = None
        return self._origins.allows(origin, name)
