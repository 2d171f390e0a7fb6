"""What an engine evaluates before anybody asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runnerd.backends.preload import evaluate
from runnerd.errors import BackendFailure

MESSAGE = {"role": "system", "content": "Be brief."}


class Engine:
    """Answers with a status and a body, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"{}"
        self.asked: list[tuple[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        body = json.loads(await reader.readexactly(length))
        self.asked.append((head.split()[1].decode(), body))
        head = b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % (self.status, len(self.body)) + self.body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def socket(engine: Engine, tmp_path: Path) -> AsyncIterator[Path]:
    path = tmp_path / "e.sock"
    async with await asyncio.start_unix_server(engine.serve, path=path):
        yield path
    path.unlink(missing_ok=True)


async def test_a_text_and_messages_are_kept_by_the_engine(engine: Engine, socket: Path) -> None:
    """At the price of one token each: what counts is what is in its cache then."""
    await evaluate(socket, messages=[MESSAGE], prefix="Once")
    kept = {"max_tokens": 1, "cache_prompt": True}
    assert engine.asked == [
        ("/v1/completions", {"prompt": "Once", **kept}),
        ("/v1/chat/completions", {"messages": [MESSAGE], **kept}),
    ]


async def test_nothing_is_asked_where_nothing_was_said(engine: Engine, socket: Path) -> None:
    """Not even a connection is made."""
    await evaluate(socket, messages=[], prefix="")
    await evaluate(Path("/nonexistent/e.sock"), messages=[], prefix="")
    assert engine.asked == []


async def test_an_engine_that_refuses_is_quoted(engine: Engine, socket: Path) -> None:
    """As far as it has said something, and at most half a kilobyte of it."""
    engine.status, engine.body = 400, b"the template knows no system " + b"x" * 1000
    with pytest.raises(BackendFailure, match="the template knows no system") as found:
        await evaluate(socket, messages=[MESSAGE], prefix="")
    assert len(found.value.message) < 600
    engine.body = b""
    with pytest.raises(BackendFailure, match="no answer"):
        await evaluate(socket, messages=[MESSAGE], prefix="")


async def test_an_engine_that_is_gone() -> None:
    """Is a failure of the engine, not of the daemon."""
    with pytest.raises(BackendFailure, match="took nothing to preload"):
        await evaluate(Path("/nonexistent/e.sock"), messages=[MESSAGE], prefix="")
