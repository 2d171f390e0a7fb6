"""Names to addresses, once, with the check in between.

aiohttp dials exactly what a resolver returns and keeps the name for Host and SNI, so an address
that passed here is the one that is connected to.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from runnerd.outbound.addresses import AllowedSources


class RefusedAddress(OSError):
    """A name leads to an internal address that the owner has not allowed."""


class GuardedResolver(AbstractResolver):
    """Resolves with the system's resolver and refuses a name of which any address is internal."""

    def __init__(self, allowed: AllowedSources) -> None:
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of `host`.  Raises RefusedAddress, OSError."""
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
        )
        results = []
        for kind, _, protocol, _, place in found:
            text = str(place[0])
            address = ipaddress.ip_address(text.partition("%")[0])
            if not self._allowed.permits(host, address):
                raise RefusedAddress(f"{host} is at the internal address {address}")
            results.append(
                ResolveResult(
                    hostname=host,
                    host=text,
                    port=port,
                    family=kind,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        if not results:
            raise OSError(f"{host} has no address")
        return results

    async def close(self) -> None:
        """Nothing is held."""
