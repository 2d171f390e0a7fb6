"""How a registry is convinced: Basic, or Docker's token flow.

A 401 names a *realm* that hands out tokens.  The registry chooses that name, so it is believed only
where it belongs to the registry itself: the same origin, port included, or https on its own port on
the same host or one under the same registrable domain (`registry-1.docker.io` and
`auth.docker.io`).  Elsewhere gets neither credentials nor a request.
A token is used for the one registry and repository that it was asked for, and kept in memory only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import aiohttp
import msgspec
from yarl import URL

from runnerd.errors import Forbidden, SourceBusy, SourceDenied, SourceFailure
from runnerd.outbound.addresses import literal
from runnerd.outbound.client import Outbound, read_capped
from runnerd.pulls.credentials import Credentials, CredentialSource
from runnerd.pulls.retrying import BUSY, retry_after

_PARAMETER = re.compile(r'([a-zA-Z]+)="([^"\\]{0,2048})"')
_MOST_TOKEN_BYTES = 256 * 2**10
_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "gov", "net", "org", "or", "ne"})
_SHARED = frozenset({"github.io", "gitlab.io", "amazonaws.com", "azurewebsites.net", "run.app"})


class Authorization:
    """The secret headers for one repository of one registry; an instance is `offer.Secrets`."""

    def __init__(
        self,
        http: Outbound,
        registry: str,
        scope: str,
        *,
        credentials: CredentialSource | None,
        token: str | None = None,
    ) -> None:
        self._http = http
        self._registry = registry
        self._scope = scope
        self._credentials = credentials
        self._given = token
        self._header = f"Bearer {token}" if token else ""

    async def __call__(self, refused: aiohttp.ClientResponse | None) -> Mapping[str, str] | None:
        """Return the headers to send; after a 401, better ones or None.

        Raises errors.Forbidden for a realm that does not belong to the registry, SourceDenied,
        SourceFailure.
        """
        if refused is None:
            return {"Authorization": self._header} if self._header else {}
        if self._given:
            return None  # that token is not enough, and no other one was meant
        challenge = refused.headers.get("WWW-Authenticate", "")
        kind, _, rest = challenge.partition(" ")
        found = None if self._credentials is None else await self._credentials.find(self._registry)
        if kind.lower() == "basic" and found is not None and not found.is_identity:
            header = found.basic
        elif kind.lower() == "bearer":
            header = await self._fetch(refused.url, dict(_PARAMETER.findall(rest)), found)
        else:
            return None
        if header == self._header and kind.lower() == "basic":
            return None
        self._header = header
        return {"Authorization": header}

    async def _fetch(
        self, url: URL, challenge: Mapping[str, str], credentials: Credentials | None
    ) -> str:
        realm = checked_realm(challenge.get("realm", ""), url)
        query = {"service": challenge.get("service", ""), "scope": self._scope}
        if credentials is not None and credentials.is_identity:
            form = {
                **query,
                "grant_type": "refresh_token",
                "client_id": "runnerd",
                "refresh_token": credentials.password,
            }
            request = self._http.request("POST", realm, body=aiohttp.FormData(form), redirects=0)
        else:
            secrets = {"Authorization": credentials.basic} if credentials else {}
            request = self._http.request(
                "GET", realm.update_query(query), secrets=secrets, redirects=0
            )
        async with request as response:
            if response.status in (400, 401, 403):
                command = self._credentials.command if self._credentials else "runnerd login"
                raise SourceDenied(
                    f"{realm.host} does not accept the credentials for {self._registry}; log in"
                    f" again: {command} {self._registry}"
                )
            if response.status in BUSY:
                raise SourceBusy(
                    f"{realm.host} answered {response.status} when asked for a token",
                    retry_after=retry_after(response.headers),
                )
            body = await read_capped(response, _MOST_TOKEN_BYTES)
            if response.status != 200:
                raise SourceFailure(
                    f"{realm.host} answered {response.status} when asked for a token"
                )
        return f"Bearer {_token(body, realm)}"


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""


def _token(body: bytes, realm: URL) -> str:
    try:
        document = msgspec.json.decode(body, type=_Token)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SourceFailure(
            f"{realm.host} answered without a token that can be read when asked for one"
        ) from error
    token = document.token or document.access_token
    if not token or not token.isascii() or not token.isprintable():
        raise SourceFailure(f"{realm.host} gave no usable token")
    return token


def checked_realm(text: str, registry: URL) -> URL:
    """The place where a registry hands out tokens.  Raises errors.SourceFailure, Forbidden."""
    try:
        realm = URL(text)
    except ValueError:
        realm = URL()
    if not realm.host or realm.scheme not in ("https", registry.scheme):
        raise SourceFailure(f"{registry.host} names no usable place to get a token from")
    if realm.origin() == registry.origin():
        return realm
    usual = realm.scheme == "https" and realm.is_default_port()
    if not usual or not belongs_together(registry.host or "", realm.host):
        raise Forbidden(
            f"{registry.host} wants a token from {realm.host}:{realm.port}, which is not its own;"
            " nothing was sent there"
        )
    return realm


def belongs_together(registry: str, realm: str) -> bool:
    """Say whether two hosts have one owner: the same, or under one registrable domain."""
    if registry == realm:
        return True
    if literal(registry) is not None or literal(realm) is not None:
        return False
    ours = registrable(registry)
    return ours is not None and ours == registrable(realm)


def registrable(host: str) -> str | None:
    """Return the part of a name that somebody can own, None where that is not clear."""
    labels = host.lower().rstrip(".").split(".")
    if len(labels) < 2:
        return None
    count = 2
    if len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL:
        count = 3
    if ".".join(labels[-2:]) in _SHARED:
        return None
    return ".".join(labels[-count:]) if len(labels) >= count else None
