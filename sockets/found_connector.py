"""aiohttp's way to a daemon's socket that was found (`runnerd.sockets.found`)."""

from __future__ import annotations

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace

from runnerd.sockets.found import check_found, expected_listeners


class FoundConnector(aiohttp.UnixConnector):
    """Checks each connection, as the folder may have been made anew between two of them."""

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], *limits: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        uids = expected_listeners(self.path)
        protocol = await super()._create_connection(req, traces, *limits)
        assert protocol.transport is not None
        try:
            check_found(protocol.transport.get_extra_info("socket"), self.path, uids)
        except OSError:
            protocol.close()
            raise
        return protocol


def unix_connector(path: str, *, found: bool, limit: int = 100) -> aiohttp.UnixConnector:
    """A connector to a socket, named or `found`; `limit` connections at once, 0 for any number."""
    kind = FoundConnector if found else aiohttp.UnixConnector
    return kind(path, limit=limit)
