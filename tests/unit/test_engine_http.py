"""What the daemon asks an engine itself: whole responses, or an error."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from runnerd.backends.engine_http import answers_ready, ask, wait_ready
from tests.support.waiting import LIMIT, until

Engine = Callable[[bytes], AbstractAsyncContextManager[Path]]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Make an engine that says something to every request, without reading it, and hangs up."""

    @asynccontextmanager
    async def serving(response: bytes) -> AsyncIterator[Path]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(writer)
            with contextlib.suppress(ConnectionError):
                writer.write(response)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
            connections.discard(writer)

        socket = tmp_path / "e.sock"
        connections: set[asyncio.StreamWriter] = set()
        async with await asyncio.start_unix_server(answer, path=str(socket)):
            yield socket
            await until(lambda: not connections)
        socket.unlink(missing_ok=True)

    return serving


async def test_a_response_is_read_to_its_end(engine: Engine) -> None:
    """Also from an engine that does not care for the request."""
    async with engine(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno") as socket:
        for document in (None, {"prompt": "x" * 100_000}):
            assert await ask(socket, "/slots", document) == (404, b"no")


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ],
)
async def test_half_a_response_is_none(engine: Engine, response: bytes) -> None:
    """An engine that dies while it answers has not answered."""
    async with engine(response) as socket:
        with pytest.raises(OSError, match="did not answer /slots"):
            await ask(socket, "/slots")
        assert not await answers_ready(socket)


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False), (404, False)])
async def test_only_200_is_ready(engine: Engine, status: int, ready: bool) -> None:
    """503 says that the model loads."""
    async with engine(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status) as socket:
        assert await answers_ready(socket) is ready


async def test_ready_is_waited_for(engine: Engine, tmp_path: Path) -> None:
    """A socket that is not there yet is an engine that has not begun to listen."""
    async with asyncio.timeout(LIMIT):
        waiting = asyncio.gather(wait_ready(tmp_path / "e.sock"))
        async with engine(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"):
            await waiting


async def test_an_engine_that_does_not_hang_up(tmp_path: Path) -> None:
    """A response is whole once as much has come as it has announced, in any pieces."""
    asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in (b"HTTP/1.1 200 OK\r\nContent-", b"Length: 2\r\n\r\n", b"o", b"k"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        await asked.wait()
        writer.close()

    async with await asyncio.start_unix_server(answer, path=str(tmp_path / "e.sock")):
        async with asyncio.timeout(LIMIT):
            assert await ask(tmp_path / "e.sock", "/health") == (200, b"ok")
        asked.set()
    (tmp_path / "e.sock").unlink(missing_ok=True)
