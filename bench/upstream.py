"""A synthetic llama-server that the real daemon starts as its engine: cheap, and on command.

What a response looks like is said by a field of the request, which the relay passes through:

    "bench": "once"           one JSON response
    "bench": "stream:N:MS"    N chunks, MS milliseconds apart (0: as fast as they go)
    "bench": "hold"           one chunk, then silence until the client has gone

Without the field it is `once`, or a stream of one chunk if the body asks for a stream.  Every paced
chunk carries the monotonic time at which it was written.  It keeps connections as llama-server
does: closed after a stream, after 100 requests, and after 5 idle seconds.  `GET /bench/held` tells
how many connections are held, and when (monotonic nanoseconds) others were seen to close; it
forgets the latter.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import cast

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_ORDER = re.compile(rb'"bench": ?"([a-z]+)(?::(\d+))?(?::(\d+))?"')
_KEPT_REQUESTS = 100
_KEPT_SECONDS = 5.0
_HELP = (
    "--host (or a Unix socket) --model --alias --no-ui --offline --ctx-size --kv-unified"
    " --embeddings"
)

_PIECE = (
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" word"}}],'
    b'"created":1795223923,"id":"chatcmpl-QLg6bnQw9HpGlfUMPAsCgJsujt2L4vs8","model":"bench",'
    b'"system_fingerprint":"b1-0c1e570","object":"chat.completion.chunk","at":"%020d"}\n\n'
)
_USAGE = (
    b'data: {"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"id":"chatcmpl-1",'
    b'"object":"chat.completion.chunk","usage":{"completion_tokens":%d,"prompt_tokens":10,'
    b'"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":3}}}\n\n'
)
_WHOLE = json.dumps(
    {
        "object": "list",
        "model": "bench",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.25] * 64}],
        "usage": {"prompt_tokens": 10, "total_tokens": 10},
    }
).encode()
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nAccess-Control-Allow-Origin: \r\n"
    b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"Keep-Alive: timeout=5, max=100\r\n\r\n"
)


def _response(body: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nAccess-Control-Allow-Origin: \r\n"
        b"Content-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n"
        b"Keep-Alive: timeout=5, max=100\r\n\r\n%s" % (len(body), body)
    )


_ONCE = _response(_WHOLE)
_LAST_ONCE = _ONCE.replace(b"Keep-Alive: timeout=5, max=100", b"Connection: close")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Held:
    """The held connections of the engine."""

    def __init__(self) -> None:
        self.open = 0
        self.closed: list[int] = []


class Engine(asyncio.Protocol):
    """One connection of the synthetic engine."""

    def __init__(self, held: Held) -> None:
        self._all_held = held
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._served = 0
        self._left = 0
        self._total = 0
        self._pause = 0.0
        self._due = 0.0
        self._held = False
        self._full = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._idle = self._loop.call_later(_KEPT_SECONDS, self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._held:
            self._all_held.open -= 1
            self._all_held.closed.append(time.monotonic_ns())
        self._idle.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._left and not self._pause:
            self._flood()

    def data_received(self, data: bytes) -> None:
        self._received = received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(received, 0, end)
        stop = end + 4 + (int(length[1]) if length else 0)
        if len(received) < stop:
            return
        self._received = b""
        if received.startswith(b"GET "):
            self._get(received)
        else:
            self._serve(_ORDER.search(received, end), b'"stream":true' in received)

    def _get(self, head: bytes) -> None:
        document: object = {"status": "ok"}
        if head.startswith(b"GET /bench/held"):
            document = {"open": self._all_held.open, "closed": list(self._all_held.closed)}
            self._all_held.closed.clear()
        self._transport.write(_response(json.dumps(document).encode()))

    def _serve(self, order: re.Match[bytes] | None, stream: bool) -> None:
        kind = order[1] if order else b"stream" if stream else b"once"
        if kind == b"once" and not stream:
            self._served += 1
            if self._served < _KEPT_REQUESTS:
                self._transport.write(_ONCE)
            else:
                self._transport.write(_LAST_ONCE)
                self._transport.close()
            return
        self._transport.write(_STREAM_HEAD)
        self._total = self._left = int(order[2] or 1) if order else 1
        self._pause = int(order[3] or 0) / 1000 if order else 0.0
        self._idle.cancel()
        self._held = kind == b"hold"
        if self._held:
            self._all_held.open += 1
            self._transport.write(_chunk(_PIECE % time.monotonic_ns()))
        elif self._pause:
            self._due = self._loop.time()
            self._tick()
        else:
            self._flood()

    def _tick(self) -> None:
        self._transport.write(_chunk(_PIECE % time.monotonic_ns()))
        self._left -= 1
        if self._left == 0:
            self._finish()
            return
        self._due += self._pause
        self._timer = self._loop.call_at(self._due, self._tick)

    def _flood(self) -> None:
        piece = _chunk(_PIECE % 0)
        while self._left and not self._full:
            count = min(64, self._left)
            self._transport.write(piece * count)
            self._left -= count
        if not self._left:
            self._finish()

    def _finish(self) -> None:
        usage = _chunk(_USAGE % (self._total, self._total + 10))
        self._transport.write(usage + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        self._transport.close()


async def _serve(path: str) -> None:
    held = Held()
    loop = asyncio.get_running_loop()
    if path.isdigit():
        server = await loop.create_server(
            lambda: Engine(held), "127.0.0.1", int(path), backlog=8192
        )
    else:
        server = await loop.create_unix_server(lambda: Engine(held), path, backlog=8192)
    print("0.00.003.000 I srv  llama_server: model loaded", file=sys.stderr, flush=True)
    await server.serve_forever()


def main() -> None:
    """Behave as `llama-server --host PATH.sock ...`; a number for the path is a loopback port."""
    if "--version" in sys.argv or "--help" in sys.argv:
        print("version: bench-1 (build 1, commit 1234567)" if "--version" in sys.argv else _HELP)
    else:
        uvloop.run(_serve(sys.argv[sys.argv.index("--host") + 1]))


if __name__ == "__main__":
    main()
