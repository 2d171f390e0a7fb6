"""What a request costs inside the daemon's process alone, without the system's part of it.

The daemon runs in this process with all its parts; clients and engines are objects that take
bytes and have them ready, so that no request makes a system call and neighbours have no say: the
least of many rounds of this process's CPU time is the figure, and it repeats within a few percent.
What the system adds (four calls of a small request, eight of a chat that is put together from a
stream, and the loop's wake-ups) is in `python -m bench requests`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import httpx
import uvloop

from bench import upstream
from bench.load import request
from bench.report import Report
from bench.subjects import DEMO, UPSTREAM
from runnerd import daemon, logs, parts, tasks
from runnerd.config import Settings
from runnerd.relay import engine
from runnerd.relay.client_connection import ClientConnection
from runnerd.relay.poller import ENDED, READABLE
from runnerd.relay.service import Relay

CHAT = "/v1/chat/completions"
_MESSAGES = [{"role": "user", "content": "x" * 900}]
_EMBED: dict[str, object] = {"model": "bench", "input": "x" * 900, "bench": "once"}
_AT_A_LOOK = 7  # responses that the daemon finds at once, as it does with real engines
CLIENTS = 32
_ROUND = 256  # requests


class InProcessEngine:
    """What sockets to engines are connected to: responses are there as soon as they are asked."""

    def __init__(self) -> None:
        self.numbers = itertools.count(10_000)
        self.ready: dict[int, tuple[int, int]] = {}
        self.response = b""
        self.closes = False

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        taken = list(itertools.islice(self.ready.values(), _AT_A_LOOK))
        for number, _ in taken:
            del self.ready[number]
        return taken

    def register(self, number: int, events: int) -> None: ...
    def modify(self, number: int, events: int) -> None: ...
    def unregister(self, number: int) -> None: ...
    def close(self) -> None: ...

    def fileno(self) -> int:
        return -1


class EngineSocket:
    """A socket of an engine that has its whole response ready."""

    engine: InProcessEngine

    def __init__(self, *kind: int) -> None:
        self._number = next(self.engine.numbers)
        self._left: list[bytes] = []

    def connect(self, path: str) -> None: ...

    def fileno(self) -> int:
        return self._number

    def send(self, data: bytes) -> int:
        self._left.append(self.engine.response)
        events = READABLE | ENDED if self.engine.closes else READABLE
        self.engine.ready[self._number] = (self._number, events)
        return len(data)

    def sendmsg(self, pieces: list[bytes]) -> int:
        return self.send(b"".join(pieces))

    def recv(self, most: int) -> bytes:
        return self._left.pop() if self._left else b""

    def close(self) -> None: ...


class ClientTransport:
    """The transport of a client that reads everything at once, and notes who was answered."""

    def __init__(self, answered: set[ClientConnection]) -> None:
        self._socket = socket.socketpair(socket.AF_UNIX)
        self._answered = answered
        self.connection: ClientConnection | None = None
        self.latest = b""

    def get_extra_info(self, name: str) -> Any:
        return self._socket[0] if name == "socket" else None

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.latest = data
        self._answered.add(cast(ClientConnection, self.connection))

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def get_write_buffer_size(self) -> int:
        return 0


class Subject:
    """The daemon's relay and its clients, each of which asks again when it has its response."""

    def __init__(self, relay: Relay, engine: InProcessEngine, look: Callable[[], None]) -> None:
        self._engine = engine
        self._look = look
        self._answered: set[ClientConnection] = set()
        self._clients: dict[ClientConnection, ClientTransport] = {}
        for _ in range(CLIENTS):
            transport = ClientTransport(self._answered)
            connection = transport.connection = ClientConnection(relay)
            connection.connection_made(cast(asyncio.Transport, transport))
            self._clients[connection] = transport

    def run(self, message: bytes, requests: int) -> float:
        """Have so many requests of all clients served; return the CPU seconds of one."""
        self._answered.clear()
        begun = time.process_time()
        for connection in self._clients:
            connection.data_received(message)
        asked = len(self._clients)
        while self._engine.ready:
            self._look()
            again = list(self._answered)
            self._answered.clear()
            if asked < requests:
                asked += len(again)
                for connection in again:
                    connection.data_received(message)
        return (time.process_time() - begun) / asked

    def run_alone(self, message: bytes, requests: int) -> None:
        """Have so many requests of one client served, one after the other."""
        for _ in range(requests):
            self.ask_alone(message)
            self.look_until_answered()

    def ask_alone(self, message: bytes) -> None:
        """Have a request of one client go to the engine."""
        next(iter(self._clients)).data_received(message)

    def look_until_answered(self) -> None:
        """Look at the engine until there is nothing more of its response."""
        while self._engine.ready:
            self._look()
        self._answered.clear()

    def check(self, message: bytes) -> None:
        """A figure of requests that fail is none."""
        self.run(message, 20 * CLIENTS)
        for transport in self._clients.values():
            if not transport.latest.startswith(b"HTTP/1.1 200 OK"):
                raise SystemExit(f"a request failed: {transport.latest[:400]!r}")

    def close(self) -> None:
        """End the connections."""
        for connection in self._clients:
            connection.connection_lost(None)


def stream_response(chunks: int) -> bytes:
    """The response of a synthetic engine that streams so many chunks, and closes."""
    piece = upstream._chunk(upstream._PIECE % 0)
    usage = upstream._chunk(upstream._USAGE % (chunks, chunks + 10))
    last = upstream._chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    return upstream._STREAM_HEAD + piece * chunks + usage + last


def cases(keys: dict[str, str]) -> dict[str, tuple[bytes, bytes, bool]]:
    """What is measured: a request, the engine's response, and whether that one closes."""
    once = upstream._ONCE
    chat = request(CHAT, {"model": "bench", "messages": _MESSAGES})
    streamed = request(CHAT, {"model": "bench", "messages": _MESSAGES, "stream": True})
    found = {"small request": (request("/v1/embeddings", _EMBED), once, False)}
    for what, key in keys.items():
        found[f"small request with {what}"] = (
            request("/v1/embeddings", _EMBED, key=key),
            once,
            False,
        )
    for chunks in (1, 16):
        response = stream_response(chunks)
        found[f"chat put together from {chunks}"] = chat, response, True
    found["stream of one chunk"] = streamed, stream_response(1), False
    return found


@contextmanager
def _environment(root: Path) -> Iterator[None]:
    installed = root / "engine"  # of which an engine may read all, and little else
    installed.mkdir()
    copied = shutil.copy(UPSTREAM, installed)
    script = installed / "llama-server"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {copied} "$@"\n')
    script.chmod(0o755)
    variables = {
        "RUNNERD_BACKENDS": f'{{"llama.cpp": {{"path": "{script}"}}}}',
        "RUNNERD_MEMORY_RESERVE": '{"default": 0}',
        "RUNNERD_STATE_DIR": str(root / "state"),
        "RUNNERD_RUNTIME_DIR": str(root / "run"),
        "RUNNERD_LISTEN": "127.0.0.1:0",
    }
    with mock.patch.dict(os.environ, variables):
        yield


Measure = Callable[[str, Subject, bytes], float]
"""Measures requests of a case, of which the message is given."""


def _seconds(what: str, subject: Subject, message: bytes) -> float:
    return subject.run(message, _ROUND)


async def _measure(found: dict[str, float], rounds: int, only: str, measure: Measure) -> None:
    built: list[parts.Parts] = []

    async def build(*arguments: Any) -> parts.Parts:
        built.append(await parts.build(*arguments))
        return built[0]

    settings = Settings()
    silent = mock.Mock()  # the loop is held all the time, and that is nothing to tell
    with mock.patch.multiple(daemon, build=build, LoopWatch=silent), _log_in_its_file():
        running = tasks.spawn(daemon.Daemon(settings, Settings).run(), name="daemon")
        while not settings.socket_path.exists():
            await asyncio.sleep(0.01)
            if running.done():
                running.result()
        keys = await asyncio.to_thread(_prepare, settings.socket_path)
        _serve(built[0], keys, found, rounds, only, measure)
        built.clear()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@contextmanager
def _log_in_its_file() -> Iterator[None]:
    """The daemon's log stays out of the figures; afterwards logging is as it was before."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers.clear()  # they would be closed
    try:
        with mock.patch.object(logs, "_console", return_value=logging.NullHandler()):
            yield
    finally:
        for handler in list(root.handlers):
            root.removeHandler(handler)
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


def _prepare(path: Path) -> dict[str, str]:
    """Import the model and load it; return users' keys."""
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost", timeout=60
    ) as http:
        done = http.post("/models/import", json={"path": str(DEMO), "tag": "bench"})
        assert done.status_code == 200, done.text
        for operation, more in (
            ("chat/completions", {"messages": _MESSAGES}),
            ("embeddings", _EMBED),
        ):
            answer = http.post(f"/v1/{operation}", json={"model": "bench", **more})
            assert answer.status_code == 200, answer.text
        said = {"models": ["bench", "ai/*"], "limits": {"requests_per_minute": 10**9}}
        users = {"a key": {}, "a key with grants and limits": said}
        return {
            what: http.post("/runnerd/users", json={"name": what[-6:].strip(), **more}).json()[
                "key"
            ]
            for what, more in users.items()
        }


def _serve(
    built: parts.Parts,
    keys: dict[str, str],
    found: dict[str, float],
    rounds: int,
    only: str,
    measure: Measure,
) -> None:
    fake = EngineSocket.engine = InProcessEngine()
    relay = built.relay
    pools = relay._exchanges._context.pools
    for pool in pools._pools.values():
        pool.close_idle()
    poller = pools.poller
    real, poller._epoll = poller._epoll, cast(Any, fake)
    kinds = SimpleNamespace(**{**vars(socket), "SocketType": EngineSocket})
    subject = Subject(relay, fake, poller._look)
    try:
        # Who listens on a socket is not asked of objects.
        unasked = mock.patch.object(engine, "check_listener", _believe)
        with unasked, mock.patch.object(engine, "socket", kinds):
            chosen = {what: case for what, case in cases(keys).items() if only in what}
            for _ in range(rounds):
                for what, (message, fake.response, fake.closes) in chosen.items():
                    if what not in found:
                        subject.check(message)
                    took = measure(what, subject, message)
                    found[what] = min(took, found.get(what, took))
            for pool in pools._pools.values():
                pool.close_idle()
    finally:
        poller._epoll = real
        subject.close()


def _believe(sock: object, owner: int | None) -> None: ...


def in_process(report: Report, seconds: float) -> None:
    """CPU of a request inside the daemon's process, the least of many rounds."""
    report.section("Inside the process alone: no system call, no neighbour")
    for what, took in measured(rounds=max(10, int(60 * seconds))).items():
        report.line(f"runnerd: {what}", f"{took * 1e6:.2f} us")


def measured(*, rounds: int, only: str = "", measure: Measure = _seconds) -> dict[str, float]:
    """The CPU seconds of a request, by what it is, or what `measure` finds of it: the least of the
    rounds.
    """
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="rbi") as folder, _environment(Path(folder)):
        uvloop.run(_measure(found, rounds, only, measure))
    return found


if __name__ == "__main__":
    for what, took in measured(rounds=int(sys.argv[1]) if sys.argv[1:] else 60).items():
        print(f"{what:<50} {took * 1e6:8.2f} us")
