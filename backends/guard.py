"""The listener on a runner's own socket: what a runner offers goes to the engine, nothing else.

llama.cpp's server answers whatever model a request names.  The guard stands in front of it and
lets through what a runner offers and no other route of the engine's (`/slots` shows everybody's
prompts), and holds the request's `model` against the names of the one that it serves: else 421.
The daemon's relay has made that decision already and dials the engine's own socket; the guard is
for everybody else, so it is plain aiohttp on both sides and only as quick as that.

Bodies are read whole before the engine is dialled, answers pass as they come, and a client that
goes away takes its engine connection with it, which is what stops a generation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Mapping
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace
from yarl import URL

from runnerd.backends.interface import Headers
from runnerd.errors import (
    BackendFailure,
    MethodNotAllowed,
    MisdirectedRequest,
    NotSupported,
    PayloadTooLarge,
    RouteNotFound,
    RunnerdError,
)
from runnerd.sockets.listeners import listen_unix, unlink_if_ours
from runnerd.sockets.peer import check_listener, folder_owner, peer_credentials

log = logging.getLogger(__name__)

_BODY_LIMIT = 64 * 2**20
_HEAD_TIMEOUT = 75.0  # also how long an idle connection is kept
_CLOSE_TIMEOUT = 0.01  # for streams at the end; 0 means for ever to aiohttp
_FORWARDED = (
    "Accept",
    "Content-Type",
)  # a header more, and X-Conversation-Id would defeat cancelling
_READ = frozenset({"/health", "/v1/health", "/models", "/v1/models"})
_RETURNED = ("Content-Type", "Content-Length", "Content-Encoding", "Retry-After")
_LOADING = {"error": {"message": "loading model", "type": "unavailable_error", "code": 503}}


class _Named(msgspec.Struct, gc=False):
    model: object = None


_decode = msgspec.json.Decoder(_Named).decode


def names_other_model(body: bytes, names: Container[str]) -> str | None:
    """Return the model that a JSON body names if it is none of `names`, else None.

    A body without `model` names none, nor does one that is no JSON object: the engine says what is
    wrong with it.
    """
    try:
        model = _decode(body).model
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if model is None or (isinstance(model, str) and (model == "" or model in names)):
        return None
    return model if isinstance(model, str) else repr(model)[:100]


class Guard:
    """Serves `socket` on behalf of the engine on `engine`, for the model that has `names`.

    `unsupported_reason` says why an operation (the path behind /v1/) is not offered, or None.
    `routes` are the paths that may be posted to, and the engine's own path for each.
    `admit` is asked before each request, and before its body is read, with the user id of who is at
    the other end and the headers.
    """

    def __init__(
        self,
        socket: Path,
        engine: Path,
        names: Container[str],
        *,
        routes: Mapping[str, str],
        unsupported_reason: Callable[[str], str | None],
        admit: Callable[[int | None, Headers], None],
    ) -> None:
        self._socket = socket
        self._engine = engine
        self._names = names
        self._routes = routes
        self._unsupported_reason = unsupported_reason
        self._admit = admit
        self._runner: web.ServerRunner | None = None
        self._http: aiohttp.ClientSession | None = None
        self._reached = False

    async def start(self) -> None:
        """Listen.  Raises errors.StartupError when the socket cannot be made."""
        self._listener = listen_unix(self._socket, mode=0o600, group=None)
        try:
            self._http = aiohttp.ClientSession(
                connector=_ToEngine(str(self._engine), limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=None, connect=5.0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
            )
            server = web.Server(
                self._handle,
                handler_cancellation=True,
                keepalive_timeout=_HEAD_TIMEOUT,
                access_log=None,
            )
            self._runner = web.ServerRunner(server, shutdown_timeout=_CLOSE_TIMEOUT)
            await self._runner.setup()
            await web.SockSite(self._runner, self._listener).start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop listening, drop every connection on both sides, remove the socket.  Idempotent."""
        unlink_if_ours(self._listener, self._socket)
        if self._runner is not None:
            await self._runner.cleanup()
        if self._http is not None:
            await self._http.close()
        self._listener.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            headers = [(name.lower(), value) for name, value in request.raw_headers]
            self._admit(_peer_uid(request), headers)
            path = self._engine_path(request)
            body = await _read(request)
            self._check(request, body)
            return await self._pass_on(request, path, body)
        except RunnerdError as error:
            return web.json_response(error.body(), status=error.status, headers=error.headers())

    def _engine_path(self, request: web.BaseRequest) -> str:
        """Where the engine is asked.  Raises errors.RouteNotFound, MethodNotAllowed."""
        path = request.raw_path.partition("?")[0]
        if path in _READ:
            if request.method in ("GET", "HEAD"):
                return path
            raise MethodNotAllowed(f"{path} is only read", allow="GET, HEAD")
        if path not in self._routes:
            raise RouteNotFound(f"a runner offers no {path[:100]}")
        if request.method != "POST":
            raise MethodNotAllowed(f"{path} is posted to", allow="POST")
        return self._routes[path]

    def _check(self, request: web.BaseRequest, body: bytes) -> None:
        """Raise for what the engine behind must not see."""
        operation = request.path.lstrip("/").removeprefix("v1/")
        if body and (other := names_other_model(body, self._names)) is not None:
            raise MisdirectedRequest(f"this runner does not serve model {other!r}", param="model")
        if (reason := self._unsupported_reason(operation)) is not None:
            raise NotSupported(reason)

    async def _pass_on(
        self, request: web.BaseRequest, path: str, body: bytes
    ) -> web.StreamResponse:
        assert self._http is not None
        headers = {name: request.headers[name] for name in _FORWARDED if name in request.headers}
        url = URL(f"http://localhost{path}", encoded=True)
        try:
            async with self._http.request(
                request.method, url, data=body or None, headers=headers, allow_redirects=False
            ) as received:
                self._reached = True
                return await _relay(request, received)
        except aiohttp.ClientConnectorError as error:
            if not self._reached:
                return web.json_response(_LOADING, status=503, headers={"Retry-After": "1"})
            raise BackendFailure("the engine is not running any more") from error
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise BackendFailure("the engine broke off before it answered") from error


class _ToEngine(aiohttp.UnixConnector):
    """Connects to an engine, and to nobody else whom it has put in its place."""

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], *limits: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        protocol = await super()._create_connection(req, traces, *limits)
        assert protocol.transport is not None
        try:
            check_listener(protocol.transport.get_extra_info("socket"), folder_owner(self.path))
        except OSError:
            protocol.close()
            raise
        return protocol


def _peer_uid(request: web.BaseRequest) -> int | None:
    """Who is at the other end, as the kernel says; None when nobody is any more."""
    if request.transport is None:
        return None
    peer = peer_credentials(request.transport.get_extra_info("socket"))
    return None if peer is None else peer.uid


async def _read(request: web.BaseRequest) -> bytes:
    """Return the whole body.  Raises errors.PayloadTooLarge."""
    declared = request.content_length
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    if declared is None or declared <= _BODY_LIMIT:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > _BODY_LIMIT:
                break
        else:
            return bytes(body)
    raise PayloadTooLarge(f"the request body has more than {_BODY_LIMIT} bytes")


async def _relay(request: web.BaseRequest, received: aiohttp.ClientResponse) -> web.StreamResponse:
    """Pass a response on as it comes; a broken one ends in a broken connection."""
    headers = {name: received.headers[name] for name in _RETURNED if name in received.headers}
    response = web.StreamResponse(status=received.status, headers=headers)
    await response.prepare(request)
    try:
        async for chunk in received.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    except (aiohttp.ClientError, TimeoutError):
        log.warning("the engine broke off in the middle of a response")
        if request.transport is not None:
            request.transport.abort()
    return response
