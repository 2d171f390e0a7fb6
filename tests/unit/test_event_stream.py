"""Events that are made while they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from runnerd.api.sessions import event_stream
from runnerd.api.sessions.event_stream import stream_events
from runnerd.errors import Conflict

Events = Callable[[], AsyncGenerator[bytes, None]]


@asynccontextmanager
async def asked(events: Events) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """A client of an application that answers with events."""

    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            return await stream_events(request, events())
        except Conflict:
            return web.Response(status=409)

    app = web.Application()
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app, handler_cancellation=True)) as client:
        yield client


async def test_events_are_sent_as_they_come() -> None:
    """And the response ends with them; it may have none."""

    async def two() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        yield b"data: 2\n\n"

    async def none() -> AsyncGenerator[bytes, None]:
        for _ in ():
            yield b""

    for events, body in ((two, b"data: 1\n\ndata: 2\n\n"), (none, b"")):
        async with asked(events) as client, client.get("/") as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")
            assert await response.read() == body


async def test_an_error_has_its_status_or_is_an_event() -> None:
    """By whether something was sent before it."""

    async def at_once() -> AsyncGenerator[bytes, None]:
        raise Conflict("no")
        yield b""

    async def later() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        raise Conflict("no")

    async with asked(at_once) as client, client.get("/") as response:
        assert response.status == 409
    async with asked(later) as client, client.get("/") as response:
        assert response.status == 200
        body = await response.read()
    assert body.startswith(b'data: 1\n\nevent: error\ndata: {"error":{"message":"no"')


async def test_it_says_that_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that neither client nor proxy takes it for dead."""
    monkeypatch.setattr(event_stream, "_INTERVAL", 0.001)
    go_on = asyncio.Event()

    async def slow() -> AsyncGenerator[bytes, None]:
        await go_on.wait()
        yield b"data: 1\n\n"

    async with asked(slow) as client, client.get("/") as response:
        assert await response.content.readuntil(b"\n\n") == b": waiting\n\n"
        go_on.set()
        assert (await response.read()).endswith(b"data: 1\n\n")


async def test_who_leaves_ends_it() -> None:
    """What makes the events is closed."""
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            yield b"data: 1\n\n"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with asked(endless) as client:
        async with client.get("/") as response:
            await response.content.readuntil(b"\n\n")
            response.close()
        async with asyncio.timeout(10):
            await closed.wait()
