"""The engine's own word on being ready: GET /health, 503 while it loads and 200 afterwards."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

_SHORTEST_PAUSE = 0.005  # seconds: a small model is ready in 30 ms
_LONGEST_PAUSE = 0.25
_SHARE = 0.05  # of the time that the load has taken: what asking seldom may add to it
_TIMEOUT = 5.0


async def answers_ready(socket: Path, *, within: float = _TIMEOUT) -> bool:
    """Return whether the engine behind a Unix socket says that it is ready, `within` seconds."""
    try:
        async with asyncio.timeout(within):
            return await _status(socket) == 200
    except (OSError, TimeoutError, ValueError, IndexError):
        return False


async def wait_ready(socket: Path) -> None:
    """Return as soon as the engine is ready; wait for ever if it never is."""
    began = time.monotonic()
    while not await answers_ready(socket):
        pause = (time.monotonic() - began) * _SHARE
        await asyncio.sleep(min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, pause)))


async def _status(socket: Path) -> int:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        line = await reader.readline()
        return int(line.split(None, 2)[1]) if line.startswith(b"HTTP/1.") else 0
    finally:
        writer.close()
