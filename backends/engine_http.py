"""A question to an engine over its private socket, beside what the relay carries.

One connection per question, closed afterwards: these are asked a few times in an engine's life.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

_LONGEST_ANSWER = 1 * 2**20


async def ask(socket: Path, path: str, document: object = None) -> tuple[int, bytes]:
    """Return status and body of an answer: to a GET, or to a POST of `document` as JSON.

    Takes as long as the engine takes.  Raises OSError when there is no whole answer.
    """
    body = b"" if document is None else msgspec.json.encode(document)
    method = "GET" if document is None else "POST"
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(head.encode() + body)
        answer = bytearray()
        while len(answer) <= _LONGEST_ANSWER and (more := await reader.read(_LONGEST_ANSWER)):
            answer += more
    finally:
        writer.close()
    status = answer.split(None, 2)[1:2]
    if not answer.startswith(b"HTTP/1.") or not status or not status[0].isdigit():
        raise ConnectionError(f"the engine did not answer {path}")
    return int(status[0]), bytes(answer.partition(b"\r\n\r\n")[2])
