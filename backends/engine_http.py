"""What the daemon itself asks an engine over its private socket, beside what the relay carries.

One connection per question, closed afterwards: these are asked a few times in an engine's life.
Its own word on being ready is GET /health: 503 while it loads, and 200 afterwards.
"""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import msgspec

from runnerd.sockets.peer import check_listener, folder_owner, peer_credentials

_LONGEST_RESPONSE = 2**20  # bytes
_READ_BYTES = 2**16
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})", re.IGNORECASE)

_SHORTEST_PAUSE = 0.005  # seconds between two looks at a load: a small model is ready in 30 ms
_LONGEST_PAUSE = 0.25
_SHARE = 0.05  # of the time that the load has taken: what asking seldom may add to it
_READY_TIMEOUT = 5.0  # seconds


async def ask(socket: Path, path: str, document: object = None) -> tuple[int, bytes]:
    """Status and body of the response: to a GET, or to a POST of `document` as JSON.

    Takes as long as the engine takes.  Raises OSError when there is no whole response.
    """
    body = b"" if document is None else msgspec.json.encode(document)
    method = "GET" if document is None else "POST"
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_unix_connection(str(socket))
    response = bytearray()
    try:
        _check(socket, writer)
        writer.write(head.encode() + body)
        while len(response) <= _LONGEST_RESPONSE and (more := await reader.read(_READ_BYTES)):
            response += more
            if _is_whole(response):  # not every server closes the connection when it is asked to
                break
    except ConnectionResetError:  # who answers before it has read everything resets the rest
        pass
    finally:
        writer.close()
    return _parsed(bytes(response), path)


def _check(socket: Path, writer: asyncio.StreamWriter) -> None:
    """Raise ConnectionRefusedError unless it is the engine that listens."""
    check_listener(writer.get_extra_info("socket"), folder_owner(str(socket)))


def _is_whole(response: bytearray) -> bool:
    """Whether a response has as much of a body as it has announced."""
    end = response.find(b"\r\n\r\n")
    length = _CONTENT_LENGTH.search(response, 0, end + 2) if end >= 0 else None
    return length is not None and len(response) >= end + 4 + int(length[1])


def _parsed(response: bytes, path: str) -> tuple[int, bytes]:
    """Status and body of a response.  Raises ConnectionError where it is not whole."""
    head, end, body = response.partition(b"\r\n\r\n")
    length = _CONTENT_LENGTH.search(head)
    status = _STATUS.match(head)
    if status is None or not end or (length is not None and len(body) < int(length[1])):
        raise ConnectionError(f"the engine did not answer {path}")
    return int(status[1]), body


async def answers_ready(socket: Path, *, within: float = _READY_TIMEOUT) -> bool:
    """Whether the engine behind a Unix socket says `within` so many seconds that it is ready."""
    try:
        async with asyncio.timeout(within):
            status, _ = await ask(socket, "/health")
    except (OSError, TimeoutError):
        return False
    return status == 200


async def wait_ready(socket: Path) -> None:
    """Wait until the engine is ready; for ever if it never is."""
    began = time.monotonic()
    while not await answers_ready(socket):
        pause = (time.monotonic() - began) * _SHARE
        await asyncio.sleep(min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, pause)))


async def engine_process(socket: Path) -> int:
    """The id of the process that listens on a Unix socket.  Raises OSError."""
    _, writer = await asyncio.open_unix_connection(str(socket))
    try:
        _check(socket, writer)
        listener = peer_credentials(writer.get_extra_info("socket"))
    finally:
        writer.close()
    if listener is None or not listener.pid:
        raise OSError("its process cannot be known")
    return listener.pid
