"""runnerd.backends.guard: 421 for another model, everything else passed on, over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from runnerd.backends.guard import Guard, names_other_model
from runnerd.backends.names import ModelNames
from runnerd.errors import Forbidden
from runnerd.relay.operations import ENGINE_ROUTES
from tests.support.waiting import SECONDS

NAMES = ModelNames("sha256:" + "a" * 64, "ai/tiny")


class Engine:
    """What stands behind the guard: it echoes, streams until told, and sees clients go."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.go_on = asyncio.Event()
        self.arrived = asyncio.Event()
        self.client_gone = asyncio.Event()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Engine]:
        app = web.Application(client_max_size=2**28)
        app.router.add_route("*", "/stream", self.stream)
        app.router.add_route("*", "/broken", self.broken)
        app.router.add_route("*", "/{path:.*}", self.echo)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
        await runner.setup()
        await web.UnixSite(runner, str(self.socket)).start()
        try:
            yield self
        finally:
            await runner.cleanup()
            self.socket.unlink(missing_ok=True)

    async def echo(self, request: web.Request) -> web.Response:
        body = await request.read()
        return web.json_response(
            {"method": request.method, "target": request.raw_path, "bytes": len(body)}
            | {"headers": {name.lower(): value for name, value in request.headers.items()}},
            status=201,
            headers={"Set-Cookie": "x=1", "Access-Control-Allow-Origin": "*"},
        )

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        self.arrived.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.client_gone.set()
            raise
        await response.write(b"data: 2\n\n")
        return response

    async def broken(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        assert request.transport is not None
        request.transport.abort()
        return response


@pytest.fixture
def admitted() -> list[int | None]:
    """Whom the guard has asked about."""
    return []


@pytest.fixture
async def guard(tmp_path: Path, admitted: list[int | None]) -> AsyncIterator[Guard]:
    guard = Guard(
        tmp_path / "g.sock",
        tmp_path / "g.e.sock",
        NAMES,
        routes=ENGINE_ROUTES | {path: path for path in ("/stream", "/broken", "/rerank")},
        unsupported_reason=lambda operation: "no ranks here" if operation == "rerank" else None,
        admit=lambda uid, headers: admitted.append(uid),
    )
    await guard.start()
    yield guard
    await guard.close()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with Engine(tmp_path / "g.e.sock").serving() as engine:
        yield engine


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(str(tmp_path / "g.sock"))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as http:
        yield http


@pytest.mark.parametrize(
    ("body", "other"),
    [
        (b'{"model":"tiny"}', None),
        (b'{"model":"other"}', "other"),
        (b'{"mod\\u0065l":"other"}', "other"),
        (b'{"model":"tiny","model":"other"}', "other"),
        (b'{"model":""}', None),
        (b'{"model":null}', None),
        (b'{"model":5}', "5"),
        (b'{"nested":{"model":"other"}}', None),
        (b'{"model":"other"', None),
        (b'["model"]', None),
        (b"", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
        (b'{"a":' + b"[" * 100_000, None),
    ],
)
def test_names_other_model(body: bytes, other: str | None) -> None:
    """The last top-level `model` counts, as in the engine; what is no object names none."""
    assert names_other_model(body, NAMES) == other


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists), st.text(max_size=9))
def test_names_other_model_finds_any_name(junk: object, name: str) -> None:
    """Whatever surrounds it, a name is another model's exactly when it is none of ours."""
    body = json.dumps({"a": junk, "model": name, "b": junk}).encode()
    assert names_other_model(body, NAMES) == (None if not name or name in NAMES else name)


async def test_who_asks_is_judged(
    guard: Guard,
    engine: Engine,
    http: aiohttp.ClientSession,
    admitted: list[int | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The policy hears of each request's user, and what it refuses the engine never sees."""
    async with http.post("/v1/tokenize", json={}) as answer:
        assert answer.status == 201
    assert admitted == [os.getuid()]

    def refuse(uid: int | None, headers: object) -> None:
        raise Forbidden("you may not")

    monkeypatch.setattr(guard, "_admit", refuse)
    async with http.post("/v1/tokenize", json={}) as answer:
        assert answer.status == 403
        assert (await answer.json())["error"]["message"] == "you may not"


async def test_another_model_is_misdirected(
    guard: Guard, engine: Engine, http: aiohttp.ClientSession
) -> None:
    """421 in OpenAI's shape, and the engine sees nothing of it."""
    async with http.post("/v1/chat/completions", json={"model": "other"}) as answer:
        assert answer.status == 421
        error = (await answer.json())["error"]
    assert error["code"] == "model_mismatch"
    assert "'other'" in error["message"]


@pytest.mark.parametrize("model", ["tiny", "ai/tiny:latest", "sha256:" + "a" * 64, None])
async def test_own_names_pass(
    guard: Guard, engine: Engine, http: aiohttp.ClientSession, model: str | None
) -> None:
    """The model's own names and no name at all reach the engine, the body untouched."""
    body = json.dumps({"model": model} if model else {"prompt": "x"})
    async with http.post("/v1/completions?a=%20b", data=body) as answer:
        assert answer.status == 201
        seen = await answer.json()
    assert seen["target"] == "/v1/completions"
    assert seen["bytes"] == len(body)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        *[("GET", path, 404) for path in ("/slots", "/props", "/metrics", "/lora-adapters", "/")],
        ("POST", "/slots/0?action=save", 404),
        ("POST", "/slots/0?action=restore", 404),
        ("POST", "/props", 404),
        ("POST", "/v1/../slots", 404),
        ("POST", "/v1/completions/../../slots", 404),
        ("POST", "/v1/%2e%2e/slots", 404),
        ("POST", "//slots", 404),
        ("GET", "/v1//models", 404),
        ("POST", "/v1/audio/transcriptions", 404),
        ("POST", "/health", 405),
        ("GET", "/v1/completions", 405),
        ("DELETE", "/v1/models", 405),
    ],
)
async def test_only_what_a_runner_offers(
    guard: Guard, engine: Engine, tmp_path: Path, method: str, target: str, status: int
) -> None:
    """No other route of the engine's is reached, however its path is written."""
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "g.sock"))
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert b"target" not in answer  # which the engine would have said


async def test_only_named_headers_pass(
    guard: Guard, engine: Engine, http: aiohttp.ClientSession
) -> None:
    """Headers that would change the engine's behaviour, and the engine's own, do not pass."""
    headers = {"X-Conversation-Id": "1", "Authorization": "Bearer x", "Accept": "a/b"}
    async with http.post("/tokenize", json={}, headers=headers) as answer:
        seen = (await answer.json())["headers"]
        assert not {"Set-Cookie", "Access-Control-Allow-Origin"} & set(answer.headers)
    assert seen["accept"] == "a/b"
    assert not {"x-conversation-id", "authorization", "user-agent"} & set(seen)


async def test_what_is_missing_is_said(
    guard: Guard, engine: Engine, http: aiohttp.ClientSession
) -> None:
    """501 with the remedy for what the engine lacks; another model goes first."""
    for path in ("/v1/rerank", "/rerank"):
        async with http.post(path, json={}) as answer:
            assert answer.status == 501
            assert (await answer.json())["error"]["message"] == "no ranks here"
    async with http.post("/v1/rerank", json={"model": "other"}) as answer:
        assert answer.status == 421


async def test_loading_until_the_engine_listens(
    tmp_path: Path, guard: Guard, http: aiohttp.ClientSession
) -> None:
    """503 before the engine's socket exists, its own answers afterwards, 502 when it is gone."""
    async with http.get("/health") as answer:
        assert answer.status == 503
        assert (await answer.json())["error"]["message"] == "loading model"
    async with Engine(tmp_path / "g.e.sock").serving(), http.get("/health") as answer:
        assert answer.status == 201
    async with http.get("/health") as answer:
        assert answer.status == 502


async def test_streams_pass_as_they_come(
    guard: Guard, engine: Engine, http: aiohttp.ClientSession
) -> None:
    """The first chunk arrives while the engine still holds the second back."""
    async with http.post("/stream", json={}) as answer:
        assert await answer.content.readany() == b"data: 1\n\n"
        engine.go_on.set()
        assert await answer.content.read() == b"data: 2\n\n"


async def test_a_client_that_goes_cancels(
    guard: Guard, engine: Engine, http: aiohttp.ClientSession
) -> None:
    """When the client goes away, the engine's connection is closed with it."""
    async with http.post("/stream", json={}) as answer:
        await answer.content.readany()
        answer.close()
        async with asyncio.timeout(30 * SECONDS):
            await engine.client_gone.wait()


async def test_a_broken_answer_is_not_complete(
    guard: Guard, engine: Engine, http: aiohttp.ClientSession
) -> None:
    """An engine that dies in mid-stream ends the client's stream as broken."""
    async with http.post("/broken", json={}) as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()


async def test_too_large_a_body(
    guard: Guard, engine: Engine, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """413 for a body beyond the limit, declared or not."""
    monkeypatch.setattr("runnerd.backends.guard._BODY_LIMIT", 1000)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b" " * 100

    for data in (b" " * 1001, chunks()):
        async with http.post("/tokenize", data=data) as answer:
            assert answer.status == 413


async def test_closing_drops_streams(
    tmp_path: Path, guard: Guard, engine: Engine, http: aiohttp.ClientSession
) -> None:
    """close() ends what is under way at once, on both sides, and removes the socket."""
    async with http.post("/stream", json={}) as answer:
        await answer.content.readany()
        await guard.close()
        async with asyncio.timeout(30 * SECONDS):
            await engine.client_gone.wait()
        with pytest.raises(aiohttp.ClientError):
            await answer.content.read()
    assert not (tmp_path / "g.sock").exists()
    await guard.close()
