"""The engine's own word on being ready: GET /health, 503 while it loads and 200 afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

_FIRST_PAUSE = 0.01  # seconds; doubles up to the next: a small model is ready in 30 ms
_LONGEST_PAUSE = 0.1
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
    pause = _FIRST_PAUSE
    while not await answers_ready(socket):
        await asyncio.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 2)


async def _status(socket: Path) -> int:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        line = await reader.readline()
        return int(line.split(None, 2)[1]) if line.startswith(b"HTTP/1.") else 0
    finally:
        writer.close()
