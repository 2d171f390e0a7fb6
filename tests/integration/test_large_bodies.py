"""A body of 64 MiB, from a client's bytes to its engine: no step of the event loop takes long.

The relay, its planner and its rewrites are the daemon's; the engine is a thread that reads a
request and refuses it, so that what could be asked instead is looked for as well.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from aiohttp import web

from runnerd.access import Directory, Principal, Rules
from runnerd.api.anthropic import dialect as anthropic
from runnerd.api.ollama import dialects as ollama
from runnerd.api.openai import responses
from runnerd.backends.configuration import BackendMode
from runnerd.configurations import ModelConfiguration
from runnerd.limit_settings import Limits
from runnerd.models.model import Model
from runnerd.relay.admission import Admission
from runnerd.relay.exchanges import ExchangeDependencies, Exchanges
from runnerd.relay.known_model import UNSEEN
from runnerd.relay.planner import Planner
from runnerd.relay.records import Records
from runnerd.relay.routes import Route
from runnerd.relay.service import Relay, RelayDependencies
from runnerd.scheduler import RunnerKey
from runnerd.sessions.kept_responses import KeptResponses
from runnerd.sockets.listeners import listen_unix
from runnerd.sockets.peer import Endpoint
from tests.support.loop_steps import measured_steps
from tests.support.supervisors import NoRunners

SIZE = 64 * 2**20 - 4096  # as large as a body may be, with something around the text
TEXT = "A long text, and nothing that takes an escape. "


class Keys:
    """Every model has one runner, and its owner has said what completions begin with."""

    revision = 0

    def backend(self, name: str | None) -> Any:
        return SimpleNamespace(
            streams_to_cancel=True,
            unsupported_reason=lambda operation, mode: None,
            uses_external_model_management=False,
        )

    def key(
        self, backend: Any, model: str, mode: BackendMode, *, context: int | None = None
    ) -> RunnerKey:
        return RunnerKey("llama.cpp", "load", mode, "")

    tokens = 2**20  # of the context

    def context(self, key: RunnerKey) -> int:
        return self.tokens

    def configuration(self, key: RunnerKey, model: str) -> ModelConfiguration:
        said = {"completion_defaults": {"temperature": 0.5}, "stripped_parameters": ["seed"]}
        return ModelConfiguration.model_validate(said)

    def spreads(self, key: RunnerKey) -> bool:
        return True


class Named:
    """Every name is that of a model that does everything."""

    def model(self, reference: str, route: Route, principal: Principal) -> Model:
        found = UNSEEN.description
        capabilities = (*found.capabilities, BackendMode.RERANKING.value)
        return replace(UNSEEN, description=replace(found, capabilities=capabilities))


class _Runner(SimpleNamespace):
    """A runner: each is another one."""

    __hash__ = object.__hash__  # type: ignore[assignment]


class OneRunner(NoRunners):
    """Has one runner, whose engine listens at `socket`."""

    def __init__(self, socket: Path) -> None:
        self._runner = _Runner(
            name="r", endpoint=Endpoint(str(socket)), spec=SimpleNamespace(model_ref="m")
        )

    def lease_at_once(self, key: RunnerKey, **more: object) -> Any:
        return SimpleNamespace(
            runner=self._runner, generation=1, recalls=False, key=key, release=lambda: None
        )


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Path]:
    """An engine that reads requests and refuses them; its socket."""
    path = tmp_path / "e.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(8)

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as file:
                size = 0
                while line := file.readline().strip():
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        size = int(value)
                while size and (piece := file.read1(min(size, 2**20))):
                    size -= len(piece)
                body = b'{"error":{"code":400,"message":"it is too long","type":"x"}}'
                connection.sendall(
                    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
                    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                    % (len(body), body)
                )

    thread = threading.Thread(target=serve, name="engine")
    thread.start()
    yield path
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
    path.unlink()


@pytest.fixture
async def relay(engine: Path, tmp_path: Path) -> AsyncIterator[Path]:
    """A relay in front of that engine; its socket."""
    limits, keys = Limits(), cast(Any, Keys())
    kept = KeptResponses(cast(Any, None), cast(Any, None), time.time)
    routes = {**anthropic.routes(), **ollama.routes(), **responses.routes(kept)}
    exchanges = Exchanges(
        ExchangeDependencies(
            limits=limits,
            planner=Planner(keys, limits),
            named_models=cast(Any, Named()),
            supervisor=OneRunner(engine),
            records=Records(),
            policy=Rules(time.time, Directory((), ())),
            images_dir=tmp_path / "images",
            dialects=routes,
        )
    )
    relay = Relay(
        RelayDependencies(
            limits=limits, admission=Admission(), exchanges=exchanges, app=web.Application()
        )
    )
    path = tmp_path / "r.sock"
    await relay.open([listen_unix(path, mode=0o600, group=None)])
    yield path
    await relay.close()
    path.unlink(missing_ok=True)


def post(path: Path, route: str, body: bytes) -> tuple[int, bytes]:
    """Ask over a Unix socket, and wait for the response."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("POST", route, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


def chat(**more: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "TEXT"}], **more}


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^a+$"}}}

CASES = {
    "chat": ("/v1/chat/completions", chat()),
    "chat, rewritten": (
        "/v1/chat/completions",
        chat(
            stop=["", "x"],
            user=None,
            tools=[TOOL],
            tool_choice={"type": "function", "function": {"name": "f"}},
        ),
    ),
    "chat, tools and a schema": (
        "/v1/chat/completions",
        chat(
            tools=[TOOL],
            response_format={"type": "json_schema", "json_schema": {"schema": SCHEMA}},
        ),
    ),
    "chat, streamed": (
        "/v1/chat/completions",
        chat(stream=True, stream_options={"include_usage": True}),
    ),
    "completion": ("/v1/completions", {"prompt": "TEXT", "stop": ""}),
    "infill": ("/v1/completions", {"prompt": "TEXT", "suffix": "end"}),
    "embeddings": ("/v1/embeddings", {"input": ["TEXT", "x"], "dimensions": 8}),
    "rerank": ("/v1/rerank", {"query": "q", "documents": [{"text": "TEXT"}, "x"]}),
    "responses": ("/v1/responses", {"input": "TEXT", "tools": []}),
    "anthropic": ("/v1/messages", chat(max_tokens=8, system="s", tools=[])),
    "ollama chat": ("/api/chat", chat(options={"num_ctx": 4096, "stop": ["x"]})),
    "ollama generate": ("/api/generate", {"prompt": "TEXT", "system": "s", "suffix": ""}),
}


@pytest.mark.parametrize("tokens", [2**20, 4096])
@pytest.mark.parametrize("case", CASES)
async def test_no_step_takes_as_long_as_to_read_the_body(
    relay: Path, case: str, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor half as long: whatever reads or writes all of a body is done elsewhere.  Also where it is
    too long for the model's context, which no engine has to say.
    """
    monkeypatch.setattr(Keys, "tokens", tokens)
    route, document = CASES[case]
    text = TEXT * (SIZE // len(TEXT))
    body = json.dumps({"model": "m", **document}).replace("TEXT", text).encode()
    began = time.thread_time()
    msgspec.json.decode(body)
    whole = time.thread_time() - began
    del text
    with measured_steps() as steps:
        status, response = await asyncio.to_thread(post, relay, route, body)
    told = b"it is too long" if tokens > 4096 else b"maximum context length is 4096"
    assert told in response, (status, response)
    assert steps.longest < whole / 2, steps.what
