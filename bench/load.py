"""The load: many connections in one cheap process, on the same event loop as the daemon.

A *client* is one connection that sends one request after the other as soon as it has the response
(a closed loop).  It reads just enough of HTTP to know where a response ends.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STAMP = re.compile(rb'"at":"(\d{20})"')
_EVENT_END = b"\n\n"
_SETTLING = 0.5  # seconds of a stamped stream before its delays count: all begin at once


def request(path: str, document: dict[str, object], *, key: str | None = None) -> bytes:
    """Return the bytes of a POST, with a user's key if there is one."""
    body = json.dumps(document, separators=(",", ":")).encode()
    shown = b"" if key is None else b"Authorization: Bearer %s\r\n" % key.encode()
    return (
        b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%s"
        b"Content-Length: %d\r\n\r\n%s" % (path.encode(), shown, len(body), body)
    )


@dataclass
class Outcome:
    """What a load brought.  Times in seconds."""

    latencies: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    answers: int = 0
    events: int = 0
    received: int = 0
    broken: int = 0
    seconds: float = 0.0


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` (0..1) of the values lie; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Client(asyncio.Protocol):
    """One connection of a closed loop; reconnects when the other side has closed."""

    def __init__(
        self, path: Path | int, message: bytes, outcome: Outcome, *, stamped: bool, pause: float
    ) -> None:
        self._path = path
        self._message = message
        self._outcome = outcome
        self._stamped = stamped
        self._pause = pause
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._done = self._loop.create_future()
        self._stopping = False
        self._waiting = False
        self._warm = False  # the first response of a connection includes its being accepted
        self._reset()

    def _reset(self) -> None:
        self._head = b""
        self._left: int | None = None
        self._chunked = False
        self._closing = False
        self._tail = b""
        self._status = 0

    async def run(self, seconds: float) -> None:
        """Send requests for so long, or only one for 0; return after the last response."""
        await self._connect()
        if seconds:
            self._loop.call_later(seconds, self.stop)
        else:
            self._stopping = True
        await self._done
        if self._transport is not None:
            self._transport.abort()

    def stop(self) -> None:
        """Send no further request."""
        self._stopping = True
        if not self._waiting and not self._done.done():
            self._done.set_result(None)

    async def _connect(self) -> None:
        try:
            if isinstance(self._path, int):
                await self._loop.create_connection(lambda: self, "127.0.0.1", self._path)
            else:
                await self._loop.create_unix_connection(lambda: self, str(self._path))
        except OSError:
            self._outcome.broken += 1
            if not self._done.done():
                self._done.set_result(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        self._reset()
        self._waiting = True
        self._sent = time.perf_counter()
        self._transport.write(self._message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiting:
            self._waiting = False
            self._outcome.broken += 1
        if self._done.done():
            return
        if self._stopping:
            self._done.set_result(None)
        else:
            self._again = self._loop.create_task(self._connect())

    def data_received(self, data: bytes) -> None:
        outcome = self._outcome
        outcome.received += len(data)
        if self._status == 0:
            head = self._head + data if self._head else data
            end = head.find(b"\r\n\r\n")
            if end < 0:
                self._head = head
                return
            self._begin(head[:end])
            data = head[end + 4 :]
            if self._chunked:
                outcome.first_bytes.append(time.perf_counter() - self._sent)
        if self._chunked:
            self._piece(data)
        elif self._left is not None:
            self._left -= len(data)
            if self._left <= 0:
                self._answered()

    def _begin(self, head: bytes) -> None:
        self._status = int(head[9:12])
        length = _LENGTH.search(head)
        self._left = int(length[1]) if length else None
        self._closing = b"\r\nConnection: close" in head
        self._chunked = length is None

    def _piece(self, data: bytes) -> None:
        self._outcome.events += data.count(_EVENT_END)
        if self._stamped and time.perf_counter() - self._sent > _SETTLING:
            now = time.monotonic_ns()
            self._outcome.delays += [
                (now - int(at)) / 1e9 for at in _STAMP.findall(data) if int(at)
            ]
        self._tail = (self._tail + data)[-5:]
        if self._tail == b"0\r\n\r\n":
            self._answered()

    def _answered(self) -> None:
        outcome = self._outcome
        took = time.perf_counter() - self._sent
        outcome.statuses[self._status] = outcome.statuses.get(self._status, 0) + 1
        outcome.answers += self._status == 200
        if self._warm or self._stopping:
            (outcome.latencies if self._status == 200 else outcome.refused).append(took)
        self._warm = True
        self._waiting = False
        if self._stopping:
            if not self._done.done():
                self._done.set_result(None)
        elif self._pause and self._status != 200:
            self._loop.call_later(self._pause, self._ask_again)
        elif self._transport is not None and not self._closing:
            self._ask()

    def _ask_again(self) -> None:
        if self._transport is not None and not self._stopping:
            self._ask()


async def closed_loop(
    path: Path | int,
    message: bytes,
    *,
    clients: int,
    seconds: float,
    stamped: bool = False,
    pause: float = 0.0,
) -> Outcome:
    """Let `clients` connections ask for `seconds` (0: one request each).

    `stamped`: read the times in the chunks; `pause`: seconds to wait after a refusal.
    """
    outcome = Outcome()
    began = time.perf_counter()
    await asyncio.gather(
        *(
            Client(path, message, outcome, stamped=stamped, pause=pause).run(seconds)
            for _ in range(clients)
        )
    )
    outcome.seconds = time.perf_counter() - began
    return outcome


class Held(asyncio.Protocol):
    """One stream that is read until its first event and then kept open."""

    def __init__(self) -> None:
        self.began: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        if self.began.done():
            return
        self._seen += data
        if not self._seen.startswith(b"HTTP/1.1 200"):
            self.began.set_exception(ConnectionError(f"no stream: {self._seen[:400]!r}"))
        elif _EVENT_END in self._seen:
            self.began.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.began.done():
            self.began.set_exception(ConnectionError(f"the stream ended: {self._seen[:200]!r}"))


async def hold(path: Path | int, message: bytes, count: int) -> list[asyncio.Transport]:
    """Open `count` streams, wait for an event of each, and return their connections."""
    loop = asyncio.get_running_loop()
    transports = []
    for first in range(0, count, 100):
        protocols = []
        for _ in range(min(100, count - first)):
            transport, protocol = await loop.create_unix_connection(Held, str(path))
            transport.write(message)
            transports.append(transport)
            protocols.append(protocol)
        await asyncio.gather(*(protocol.began for protocol in protocols))
    return transports


async def ask(path: Path | int, target: str) -> bytes:
    """GET `target` and return the body of the response, which has a Content-Length."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % target.encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    assert length is not None, head
    body = await reader.readexactly(int(length[1]))
    writer.close()
    return body
