"""Requests to other hosts, under the rules that every caller gets whether it thinks of them or not.

    scheme      https; plain http only where the owner listed the host, or where the caller will
                verify the content by a digest from elsewhere (and then without credentials)
    address     checked for every dial, see `addresses`, and before a proxy gets a name; each
                redirect is a new request under the same rules, at most five of them, and never
                from https down to http
    secrets     the headers that a caller calls secret are dropped for good at the first hop to
                another origin
    size, time  heads are capped by the parser, bodies by `read_capped`; connecting and every read
                have a time limit
    encoding    none is asked for and none is accepted: a compressed body could be a bomb, and a
                digest is of the plain bytes

No proxy and nothing else is taken from the environment; the owner may set a proxy.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

import runnerd
from runnerd.errors import Forbidden, InvalidReference, SourceFailure, SourceTimeout
from runnerd.outbound.addresses import AllowedSources, is_local_name, literal
from runnerd.outbound.resolver import GuardedResolver, RefusedAddress

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 20.0  # seconds, per address
STALL_TIMEOUT = 30.0  # seconds without a byte

_LOOK_TIMEOUT = 5.0  # seconds for a name that a proxy is to resolve
_LOOKED_FOR = 60.0  # seconds for which a look at a name holds
_MOST_LOOKED_AT = 1024
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_READ_BUFFER = 2**20
_CONNECTIONS_PER_HOST = 16


def package_session() -> aiohttp.ClientSession:
    """A session for an installer, which fetches packages from the index that the owner uses.

    It takes proxies from the environment, and what it fetches is held against checksums.
    """
    return aiohttp.ClientSession(trust_env=True)


class Outbound:
    """The daemon's one HTTP client.  `close` it on the loop that used it."""

    def __init__(
        self,
        allowed: AllowedSources,
        *,
        proxy: str | None = None,
        stall_timeout: float = STALL_TIMEOUT,
    ) -> None:
        self._allowed = allowed
        self._proxy = URL(proxy) if proxy else None
        self._stall_timeout = stall_timeout
        self._looked_at: dict[str, float] = {}  # names that were no internal ones, and when
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End every connection; a second call does nothing."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        body: Any = None,
        verified: bool = False,
        redirects: int = _MOST_REDIRECTS,
        patience: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request, follow its redirects, and yield the response with its body unread.

        `secrets` are headers that only the first origin may see; `verified` says that the caller
        checks the content by a digest that did not come over this connection.  With no `redirects`
        a 3xx is a response like any other; `patience` is how many seconds a response may take when
        that is longer than a stall.  Raises errors.Forbidden for an address or scheme that
        is not allowed, SourceFailure, SourceTimeout.
        """
        sent, private = dict(headers or {}), dict(secrets or {})
        for _ in range(redirects + 1):
            self._check(url, verified=verified, secret=bool(private))
            await self._check_name(url.host or "")
            async with self._send(method, url, sent | private, body, patience) as response:
                if response.status not in _REDIRECTS or not redirects:
                    _check_encoding(response)
                    yield response
                    return
                target = _target(response, url)
            if target.origin() != url.origin():
                private = {}
            url = target
        raise SourceFailure(f"{url.host} redirects more than {redirects} times")

    @asynccontextmanager
    async def _send(
        self, method: str, url: URL, headers: Mapping[str, str], body: Any, patience: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        with translated(url):
            response = await self._opened().request(
                method,
                url,
                headers=headers,
                data=body,
                allow_redirects=False,
                proxy=self._proxy,
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    sock_connect=CONNECT_TIMEOUT,
                    sock_read=patience or self._stall_timeout,
                ),
            )
        try:
            yield response
        finally:
            # An unread rest is not worth reading: the connection goes.
            response.close() if not response.content.at_eof() else response.release()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            allowed = self._allowed
            if self._proxy is not None and self._proxy.host:
                hosts = allowed.hosts | {self._proxy.host}
                allowed = AllowedSources(hosts, allowed.networks)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=GuardedResolver(allowed),
                    use_dns_cache=False,
                    limit_per_host=_CONNECTIONS_PER_HOST,
                ),
                headers={
                    "User-Agent": f"runnerd/{runnerd.__version__}",
                    "Accept-Encoding": "identity",
                },
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                read_bufsize=_READ_BUFFER,
            )
        return self._session

    async def _check_name(self, host: str) -> None:
        """Hold a name against the rules before a proxy sees it, which would resolve it itself.

        One that this host cannot resolve may well be public: behind many proxies only they can.
        Raises errors.Forbidden.
        """
        if self._proxy is None or literal(host) is not None or self._allowed.names(host):
            return
        if is_local_name(host):
            raise _refused(host, "it is a name of an internal network")
        now = time.monotonic()
        if self._looked_at.get(host, -_LOOKED_FOR) + _LOOKED_FOR > now:
            return
        try:
            async with asyncio.timeout(_LOOK_TIMEOUT):
                await GuardedResolver(self._allowed).resolve(host, family=socket.AF_UNSPEC)
        except RefusedAddress as error:
            raise _refused(host, str(error)) from error
        except OSError:  # TimeoutError among them
            log.debug("%s is left to the proxy to resolve", host)
        if len(self._looked_at) >= _MOST_LOOKED_AT:
            self._looked_at.clear()
        self._looked_at[host] = now

    def _check(self, url: URL, *, verified: bool, secret: bool) -> None:
        """Hold a URL against the rules for schemes and for literal addresses."""
        host = url.host
        if url.scheme not in ("http", "https") or not host or url.user or url.password:
            raise InvalidReference(
                f"{_shown(url)} cannot be fetched: write https://host/path, without a password"
            )
        address = literal(host)
        if address is not None and not self._allowed.permits(host, address):
            raise _refused(host, f"{address} is an internal address")
        if url.scheme == "https" or (verified and not secret):
            return
        listed = self._allowed.names(host)
        if not listed and (address is None or not self._allowed.trusts(host, address)):
            raise Forbidden(
                f"{_shown(url)} is plain http, where anybody on the way can change the content or"
                f" read a password: use https, state the sha256, or list {host} in allowed_sources"
            )


async def read_capped(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the whole body of a response.  Raises errors.SourceFailure for more than `limit`."""
    body = bytearray()
    with translated(response.url):
        while chunk := await response.content.readany():
            body += chunk
            if len(body) > limit:
                raise SourceFailure(f"{response.url.host} sent more than {limit} bytes")
    return bytes(body)


class translated:
    """Turns the network's failures into errors that say which host failed, and how."""

    def __init__(self, url: URL) -> None:
        self._host = url.host or "?"

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, aiohttp.ClientError | OSError | asyncio.TimeoutError):
            raise _translate(self._host, error) from error


def _translate(host: str, error: BaseException) -> Exception:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RefusedAddress):
            return _refused(host, str(cause))
        cause = cause.__cause__ or getattr(cause, "os_error", None)
    if isinstance(error, aiohttp.InvalidURL):
        return InvalidReference(f"{host[:120]!r} is not a host's name or address")
    if isinstance(error, TimeoutError):
        return SourceTimeout(f"{host} sent nothing for too long")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return SourceFailure(
            f"{host} does not speak https that can be trusted: {error}", should_retry=False
        )
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientConnectorDNSError):
        return SourceFailure(f"{host} cannot be reached: {error.os_error.strerror or error}")
    return SourceFailure(f"the connection to {host} broke: {error or type(error).__name__}")


def _refused(host: str, reason: str) -> Forbidden:
    return Forbidden(
        f"{host} may not be reached: {reason}; the owner can list it in allowed_sources"
    )


def _target(response: aiohttp.ClientResponse, url: URL) -> URL:
    location = response.headers.get("Location", "")
    try:
        target = url.join(URL(location)) if location else None
    except ValueError:
        target = None
    if target is None or not target.host:
        raise SourceFailure(f"{url.host} redirects to nowhere")
    if url.scheme == "https" and target.scheme != "https":
        raise Forbidden(f"{url.host} redirects from https to {target.scheme}; that is refused")
    return target


def _check_encoding(response: aiohttp.ClientResponse) -> None:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise SourceFailure(
            f"{response.url.host} sent the content encoded as {encoding[:40]!r} although that was"
            " not asked for"
        )


def _shown(url: URL) -> str:
    """Return a URL for a message: without a password, and without a query that may hold a key."""
    return str(url.with_user(None).with_query(None).with_fragment(None))[:200]
