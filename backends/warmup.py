"""Messages that an engine evaluates before anybody asks, so that the first who does waits less.

The engine keeps what it evaluated in its prompt cache: a request that begins with the same
messages finds them there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from runnerd.errors import BackendFailure

_LONGEST_ANSWER = 64 * 2**10


async def evaluate(socket: Path, messages: Sequence[dict[str, Any]]) -> None:
    """Let the engine behind a Unix socket evaluate chat messages.

    Raises errors.BackendFailure with the engine's words.  Takes as long as the engine takes.
    """
    body = msgspec.json.encode({"messages": messages, "max_tokens": 1, "cache_prompt": True})
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket))
        try:
            writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(body), body)
            )
            answer = await reader.read(_LONGEST_ANSWER)
        finally:
            writer.close()
    except OSError as error:
        raise BackendFailure(f"the engine took no messages ({error.strerror})") from error
    status = answer.split(None, 2)[1:2]
    if status != [b"200"]:
        words = answer.partition(b"\r\n\r\n")[2][:500].decode("utf-8", "replace")
        raise BackendFailure(f"the engine refused the messages: {words or 'no answer'}")
