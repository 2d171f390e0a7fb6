"""Forwards one browser's requests from a loopback port to the daemon, with the caller's rights.

A browser cannot open a Unix socket, so the page reaches it through here, and may then do all that
whoever runs the command may.  So nobody else is let in:
- the program at the other end belongs to the caller, which the kernel says (`sockets/sock_diag`);
- it has the cookie that was given, once, for the token in the address (a browser sends a cookie to
  every port of a host, so that alone would not do);
- the page that asks is one of this very port, by Host, Origin and Sec-Fetch-Site.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
from collections.abc import AsyncIterator, Collection, Mapping
from http.cookies import SimpleCookie
from typing import Protocol
from urllib.parse import quote

import aiohttp
from aiohttp import hdrs, web
from yarl import URL

from runnerd.sockets.sock_diag import ConnectedSocket

_ENTRANCE = "/runnerd-page"
_COOKIE, _SOCKET_COOKIE = "runnerd_page", "runnerd_socket"

# What is the browser's affair with us, or a connection's own.
_NOT_SENT = frozenset({
    "host", "origin", "referer", "cookie", "connection", "keep-alive", "te", "trailer", "upgrade",
    "transfer-encoding", "proxy-connection", "proxy-authorization", "expect", "forwarded",
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
})  # fmt: skip
_NOT_RETURNED = frozenset({
    "connection", "keep-alive", "transfer-encoding", "trailer", "upgrade", "date", "server",
    "set-cookie", "access-control-allow-origin", "access-control-expose-headers",
})  # fmt: skip


class PeerNames(Protocol):
    """Says whose program is at the other end of a connection over loopback."""

    def peer_uid(self, sock: ConnectedSocket) -> int | None: ...


class PageForwarder:
    """Serves the page at one loopback address.

    `daemon` connects to the daemon, whose URL is `base`; `headers` are added to what is sent there,
    `socket` is the path of its Unix socket, for the page to show in commands.
    """

    def __init__(
        self,
        daemon: aiohttp.ClientSession,
        *,
        base: str,
        peers: PeerNames,
        uids: Collection[int],
        headers: Mapping[str, str] | None = None,
        socket: str = "",
    ) -> None:
        self._daemon = daemon
        self._base = base
        self._peers = peers
        self._uids = uids
        self._headers = dict(headers or {})
        self._socket = socket
        self._token: str | None = secrets.token_urlsafe(32)
        self._cookie = secrets.token_urlsafe(32)
        self._host = ""

    @contextlib.asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[str]:
        """Listen for the length of a block; gives the address that works once."""
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            self._host = f"127.0.0.1:{runner.addresses[0][1]}"
            yield f"http://{self._host}{_ENTRANCE}?token={self._token}"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if (refusal := self._refusal(request)) is not None:
            return web.Response(status=403, text=f"{refusal}\n", headers=_PLAIN)
        if request.path == _ENTRANCE:
            return self._let_in(request)
        if not self._has_cookie(request):
            return web.Response(
                status=401,
                text="This takes a token: run `runnerd ui` again and open what it prints.\n",
                headers=_PLAIN,
            )
        return await self._forward(request)

    def _refusal(self, request: web.Request) -> str | None:
        """Why a request is not from the caller's browser and this page; None where it is."""
        transport = request.transport
        sock = None if transport is None else transport.get_extra_info("socket")
        if sock is None or self._peers.peer_uid(sock) not in self._uids:
            return "This is for the programs of the user who has run `runnerd ui`."
        if request.headers.get(hdrs.HOST) != self._host:
            return f"This is http://{self._host} and has no other name."
        if not request.raw_path.startswith("/"):
            return "The request target must be a path."
        origin = request.headers.get(hdrs.ORIGIN)
        site = request.headers.get("Sec-Fetch-Site", "none")
        if origin not in (None, f"http://{self._host}") or site not in ("same-origin", "none"):
            return "Other pages may not use this one."
        return None

    def _let_in(self, request: web.Request) -> web.Response:
        """Exchange the token, which counts once, for a cookie."""
        token = request.query.get("token", "")
        if self._token is None or not _same(token, self._token):
            return web.Response(
                status=403,
                text="This address has been used, or is not the one that was printed:"
                " run `runnerd ui` again.\n",
                headers=_PLAIN,
            )
        self._token = None
        response = web.Response(status=303, headers={**_PLAIN, hdrs.LOCATION: "/ui"})
        response.set_cookie(_COOKIE, self._cookie, httponly=True, samesite="Strict")
        if self._socket:
            response.set_cookie(_SOCKET_COOKIE, quote(self._socket, safe=""), samesite="Strict")
        return response

    def _has_cookie(self, request: web.Request) -> bool:
        cookies: SimpleCookie = SimpleCookie()
        with contextlib.suppress(Exception):
            cookies.load(request.headers.get(hdrs.COOKIE, ""))
        found = cookies.get(_COOKIE)
        return found is not None and _same(found.value, self._cookie)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        headers = [
            (name, value)
            for name, value in request.headers.items()
            if name.lower() not in _NOT_SENT and not name.lower().startswith("sec-fetch-")
        ]
        said = {name.lower() for name, _ in headers}
        headers += [
            (name, value) for name, value in self._headers.items() if name.lower() not in said
        ]
        try:
            async with self._daemon.request(
                request.method,
                URL(self._base + request.raw_path, encoded=True),
                headers=headers,
                data=request.content if request.body_exists else None,
                allow_redirects=False,
            ) as found:
                return await _pass_on(request, found)
        except aiohttp.ClientError as error:
            return web.json_response(
                {"error": {"message": f"the daemon does not answer: {error}", "code": "no_daemon"}},
                status=502,
            )


_PLAIN = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


async def _pass_on(request: web.Request, found: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=found.status, reason=found.reason)
    for name, value in found.headers.items():
        if name.lower() not in _NOT_RETURNED:
            response.headers.add(name, value)
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD and found.status not in (204, 304):
        try:
            async for chunk in found.content.iter_any():
                await response.write(chunk)
        except aiohttp.ClientError:  # it broke off: so does this
            if request.transport is not None:
                request.transport.abort()
            return response
    with contextlib.suppress(ConnectionResetError):
        await response.write_eof()
    return response


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())
