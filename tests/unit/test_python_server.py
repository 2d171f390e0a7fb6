"""runnerd.backends.llamacpp.python_server: the fallback as an ASGI app, without a real model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from runnerd.backends.llamacpp import python_server
from runnerd.backends.llamacpp.python_server import Application, Loader, Message
from tests.support.waiting import SECONDS


class Client:
    """An ASGI client: sends one request, keeps what comes back, and may leave."""

    def __init__(self, *body: bytes) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        for number, part in enumerate(body, 1):
            more = number < len(body)
            self._messages.put_nowait({"type": "http.request", "body": part, "more_body": more})
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        return await self._messages.get()

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def leave(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    async def ask(self, app: Application, path: str = "/v1/completions") -> None:
        scope = {"type": "http", "method": "POST", "path": path}
        async with asyncio.timeout(30 * SECONDS):
            await app(scope, self.receive, self.send)


class Model:
    """As much of llama_cpp.Llama as is wrapped."""

    def __init__(self) -> None:
        self.evaluations = 0
        self.on_eval: Callable[[int], None] = lambda count: None

    def eval(self, tokens: list[int]) -> None:
        self.evaluations += 1
        self.on_eval(self.evaluations)

    def embed(self, text: str, normalize: bool = False, return_count: bool = False) -> object:
        return text, normalize, return_count


async def run(app: Application, client: Client) -> None:
    loader = Loader({})
    loader._app = app
    await client.ask(loader)


async def test_loading_says_so() -> None:
    """Until the model is there, everything is answered with 503."""
    for path in ("/health", "/v1/models"):
        client = Client(b"")
        await client.ask(Loader({}), path)
        start, body = client.sent
        assert start["status"] == 503
        assert json.loads(body["body"])["error"]["message"] == "Loading model"


async def test_health_when_loaded() -> None:
    """Then /health is 200 without the app's help."""

    async def never(scope: Message, receive: Any, send: Any) -> None:
        raise AssertionError("the app was asked")

    loader = Loader({})
    loader._app = never
    client = Client(b"")
    await client.ask(loader, "/health")
    assert client.sent[0]["status"] == 200


async def test_the_body_arrives_whole() -> None:
    """What was read to watch the connection is still there for the app."""
    got: list[Message] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        got.extend([await receive(), await receive()])
        await send({"type": "http.response.start"})

    client = Client(b"ab", b"c")
    await run(app, client)
    assert [message["body"] for message in got] == [b"ab", b"c"]
    assert len(client.sent) == 1


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_client_that_left_stops_its_generation(grouped: bool) -> None:
    """An endless generation in a thread ends at the next evaluation after the client has gone."""
    model = Model()
    python_server._stop_when_gone(model)
    client = Client(b"{}")
    loop = asyncio.get_running_loop()

    def leave_at_the_third(count: int) -> None:
        if count == 3:
            loop.call_soon_threadsafe(client.leave)

    model.on_eval = leave_at_the_third

    def generate() -> None:
        while model.evaluations < 20_000_000:  # endless, but for a broken server
            model.eval([1])
        raise AssertionError("nobody stopped it")

    async def app(scope: Message, receive: Any, send: Any) -> None:
        if grouped:  # as anyio's task groups raise it
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.to_thread(generate))
        else:
            await asyncio.to_thread(generate)

    await run(app, client)
    assert model.evaluations >= 3


async def test_the_app_hears_of_the_disconnection() -> None:
    """A stream that waits for http.disconnect gets it."""
    client = Client(b"{}")

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await receive()
        client.leave()
        await send({"got": (await receive())["type"]})

    await run(app, client)
    assert client.sent == [{"got": "http.disconnect"}]


async def test_others_are_not_stopped() -> None:
    """One client's going does not end another's generation."""
    model = Model()
    python_server._stop_when_gone(model)
    gone = Client(b"{}")
    left = asyncio.Event()

    async def leaving(scope: Message, receive: Any, send: Any) -> None:
        await receive()
        gone.leave()
        await receive()
        left.set()

    async def staying(scope: Message, receive: Any, send: Any) -> None:
        await left.wait()
        await asyncio.to_thread(model.eval, [1])
        await send({"done": True})

    stays = Client(b"{}")
    await asyncio.gather(run(leaving, gone), run(staying, stays))
    assert stays.sent == [{"done": True}]


def test_embeddings_are_normalized() -> None:
    """As the native server's are, unless the caller says otherwise."""
    model = Model()
    python_server._normalize_embeddings(model)
    assert model.embed("x", return_count=True) == ("x", True, True)
    assert model.embed("x", normalize=False) == ("x", False, False)


def test_the_library_is_the_one_we_wrap() -> None:
    """llama_cpp.server still has the parts that the child builds on."""
    server = pytest.importorskip("llama_cpp.server.app")
    assert server._llama_proxy is None
    assert callable(server.create_app)
