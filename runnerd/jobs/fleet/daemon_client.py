"""The worker's side of its daemon: requests over the Unix socket, and how busy the daemon is."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from runnerd.errors import Displaced, RunnerdError
from runnerd.models.reference import one_spelling
from runnerd.sockets.found_connector import unix_connector

_LOOK_SECONDS = 10.0
_MOST_BYTES = 64 << 20  # of a response
_HEADERS = {
    "X-Request-Origin": "runnerd-worker",
    "Content-Type": "application/json",
    "Priority": "u=7",  # RFC 9218: background work, behind everybody who waits
}
_LATER = frozenset({408, 429, 500, 502, 503, 504, 507})  # may go better with another try


class DaemonAway(RunnerdError):
    """The daemon does not answer, or is about to end: nothing was wrong with the task."""

    code = "daemon_away"


class TaskRefused(RunnerdError):
    """The daemon has refused a request; `later` says that another try may go better."""

    code = "task_refused"

    def __init__(
        self, message: str, *, later: bool, status: int = 502, retry_after: float | None = None
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.later = later
        self.status_told = status


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory: its slots, and how many requests it has, running and waiting."""

    slots: int
    requests: int


@dataclass(frozen=True, slots=True)
class HostView:
    """What a host has.  `names` are all words for a model that is here, with its id."""

    names: Mapping[str, str] = field(default_factory=dict)
    loaded: Mapping[str, LoadedModel] = field(default_factory=dict)

    def has(self, model: str) -> bool:
        """Whether a model is in the host's store."""
        return self.id_of(model) is not None

    def id_of(self, model: str) -> str | None:
        """The id of a model that is here, in whichever spelling it is named."""
        return self.names.get(model) or self.names.get(one_spelling(model))

    def loaded_as(self, model: str) -> LoadedModel | None:
        """A model as it is loaded, None if it is not."""
        return self.loaded.get(self.id_of(model) or model)


class DaemonClient:
    """Speaks to one daemon; `address` is unix:///path or http(s)://host:port, `found` one that
    nobody has named (`runnerd.sockets.found`).
    """

    def __init__(self, address: str, key: str = "", *, found: bool = False) -> None:
        self.address = address
        is_unix = address.startswith("unix://")
        self._base = "http://localhost" if is_unix else address.rstrip("/")
        connector = (
            unix_connector(address.removeprefix("unix://"), found=found, limit=0)
            if is_unix
            else aiohttp.TCPConnector(limit=0)
        )
        self._http = aiohttp.ClientSession(
            connector=connector,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            # As long as the model takes; a daemon that is gone closes the connection.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_LOOK_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def ask(self, path: str, body: bytes, *, on_behalf_of: str = "") -> bytes:
        """The body of the response to a request.  Raises TaskRefused, DaemonAway, errors.Displaced.

        Whoever is cancelled here closes the connection, which ends the computing within a token.
        """
        found = bytearray()
        async with self.streamed(path, body, on_behalf_of=on_behalf_of) as (_, _, pieces):
            async for piece in pieces:
                found += piece
                if len(found) > _MOST_BYTES:
                    raise TaskRefused("502: the response is too long", later=False)
        return bytes(found)

    @contextlib.asynccontextmanager
    async def streamed(
        self, path: str, body: bytes, *, on_behalf_of: str = ""
    ) -> AsyncIterator[tuple[int, str, AsyncIterator[bytes]]]:
        """Status, media type and pieces of the response.  Raises TaskRefused, DaemonAway, and
        errors.Displaced where it made room for somebody who waits at the host.

        `on_behalf_of` is whose the work is (a principal's id), in whose name the daemon counts it.
        """
        headers = {**_HEADERS, "X-On-Behalf-Of": on_behalf_of} if on_behalf_of else _HEADERS
        try:
            async with self._http.post(self._base + path, data=body, headers=headers) as response:
                if response.status >= 400:
                    said = await response.content.read(_MOST_BYTES)
                    raise _refusal(response.status, response.headers.get("Retry-After", ""), said)
                pieces = response.content.iter_any()
                yield response.status, response.headers.get("Content-Type", ""), pieces
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise DaemonAway(f"the daemon at {self.address} does not answer: {error}") from error

    async def look(self) -> HostView:
        """What the host has at this moment.  Raises DaemonAway."""
        models = await self._get("/models")
        names: dict[str, str] = {}
        for model in models:
            for word in (str(model.get("id", "")), *model.get("tags", ())):
                for each in _words(str(word)):
                    names.setdefault(each, str(model.get("id")))
        loaded: dict[str, LoadedModel] = {}
        for runner in await self._get("/engines/ps"):
            if runner.get("state") not in ("starting", "ready"):
                continue
            id = names.get(str(runner.get("model_name")), str(runner.get("model_name")))
            before = loaded.get(id, LoadedModel(0, 0))
            loaded[id] = LoadedModel(
                before.slots + int(runner.get("slots") or 1),
                before.requests
                + int(runner.get("requests") or 0)
                + int(runner.get("waiting") or 0),
            )
        return HostView(names, loaded)

    async def pull(self, model: str) -> None:
        """Fetch a model.  Raises TaskRefused or DaemonAway."""
        response = await self.ask("/models/create", json.dumps({"from": model}).encode())
        last = response.rstrip().rsplit(b"\n", 1)[-1]
        try:
            document = json.loads(last)
        except ValueError:
            return
        if isinstance(document, dict) and document.get("type") == "error":
            raise TaskRefused(f"{model} cannot be fetched: {document.get('message')}", later=True)

    async def _get(self, path: str) -> list[dict[str, Any]]:
        timeout = aiohttp.ClientTimeout(total=_LOOK_SECONDS)
        try:
            async with self._http.get(self._base + path, timeout=timeout) as response:
                if response.status >= 400:
                    raise DaemonAway(f"the daemon answered {response.status} to {path}")
                found = await response.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise DaemonAway(f"the daemon at {self.address} does not answer: {error}") from error
        return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()


def _refusal(status: int, retry_after: str, body: bytes) -> RunnerdError:
    try:
        document = json.loads(body)["error"]
        code, words = str(document.get("code")), str(document["message"])
    except (ValueError, KeyError, TypeError):
        code, words = "", body[:200].decode("utf-8", "replace")
    if code == "draining":
        return DaemonAway("the daemon is about to end")
    if code == Displaced.code:
        return Displaced(words)
    pause = float(retry_after) if retry_after.isdecimal() else None
    return TaskRefused(
        f"{status}: {words}", later=status in _LATER, status=status, retry_after=pause
    )


def _words(name: str) -> tuple[str, ...]:
    """The names that mean the same model: with and without `ai/` and `:latest`."""
    short = name.removesuffix(":latest")
    return (name, short, name.removeprefix("ai/"), short.removeprefix("ai/"))
