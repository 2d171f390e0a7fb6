"""Connections to engines: what is kept, what is repeated, what is given up."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runnerd.errors import Overloaded
from runnerd.relay.engine_connection import EngineConnection
from runnerd.relay.pool import EnginePools
from runnerd.relay.response_parser import ResponseHead
from runnerd.sockets.peer import Endpoint
from tests.support.receiver import Receiver

COVERS = ("runnerd.relay.pool",)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
REQUEST = (b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n", b"body")


class Peer:
    """A listening socket that plays the engine, one blocking step at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.endpoint = Endpoint(str(path))
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(10)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.accepted: list[socket.socket] = []

    async def accept(self) -> socket.socket:
        connection, _ = await asyncio.to_thread(self.listener.accept)
        connection.settimeout(10)
        self.accepted.append(connection)
        return connection

    def close(self) -> None:
        for connection in self.accepted:
            connection.close()
        self.listener.close()
        self.path.unlink()


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    """An engine's socket."""
    peer = Peer(tmp_path / "e.sock")
    yield peer
    peer.close()


@pytest.fixture
async def pools() -> AsyncIterator[EnginePools]:
    """Pools that are closed in the end."""
    pools = EnginePools(limit=4)
    yield pools
    pools.close()


async def read_request(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"body"):
        data += await asyncio.to_thread(connection.recv, 65536)
    return data


async def answered(peer: Peer, pools: EnginePools, reply: bytes = OK) -> EngineConnection:
    """Have one request answered on a new connection and return the connection."""
    receiver = Receiver()
    engine = pools.of(peer.endpoint).ask(receiver, REQUEST)
    connection = await peer.accept()
    await read_request(connection)
    connection.sendall(reply)
    await receiver.over.wait()
    assert (receiver.body, receiver.lost) == (b"{}", None)
    return engine


async def test_the_next_engine_may_be_another_users(peer: Peer, pools: EnginePools) -> None:
    """A model that is loaded again listens at the same path, and mostly as another user."""
    with pytest.raises(ConnectionRefusedError, match="somebody else"):
        pools.of(Endpoint(str(peer.path), os.geteuid() + 1)).ask(Receiver(), REQUEST)
    (await peer.accept()).close()
    pool = pools.of(Endpoint(str(peer.path), os.geteuid()))
    receiver = Receiver()
    pool.ask(receiver, REQUEST)
    connection = await peer.accept()
    await read_request(connection)
    connection.sendall(OK)
    await receiver.over.wait()
    assert (receiver.body, receiver.lost) == (b"{}", None)
    assert pool.active == 0


async def test_connection_is_kept_after_a_whole_answer(peer: Peer, pools: EnginePools) -> None:
    """The next request goes over the same connection, and the pool counts one at a time."""
    first = await answered(peer, pools)
    receiver = Receiver()
    pool = pools.of(peer.endpoint)
    assert pool.active == 0
    assert pool.ask(receiver, REQUEST) is first
    assert pool.active == 1
    await read_request(peer.accepted[0])
    peer.accepted[0].sendall(OK)
    await receiver.over.wait()
    assert receiver.body == b"{}"
    assert pool.active == 0


async def test_interim_responses_of_each_answer_count_by_themselves(
    peer: Peer, pools: EnginePools
) -> None:
    """Their heads are bounded for one response, not for all that a connection ever carries."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: %s\r\n\r\n" % (b"x" * 30_000)
    first = await answered(peer, pools, interim + interim + OK)
    receiver = Receiver()
    assert pools.of(peer.endpoint).ask(receiver, REQUEST) is first
    await read_request(peer.accepted[0])
    peer.accepted[0].sendall(interim + OK)
    await receiver.over.wait()
    assert (receiver.body, receiver.lost) == (b"{}", None)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
)
async def test_connection_is_not_kept_where_the_engine_closes_it(
    peer: Peer, pools: EnginePools, reply: bytes
) -> None:
    """After a stream, or when the engine says so, the connection is closed at once."""
    await answered(peer, pools, reply)
    assert await asyncio.to_thread(peer.accepted[0].recv, 1) == b""
    assert pools.of(peer.endpoint).empty


async def test_kept_connection_that_the_engine_closes_is_forgotten(
    peer: Peer, pools: EnginePools
) -> None:
    """An idle connection that ends is taken out of the pool."""
    await answered(peer, pools)
    peer.accepted[0].close()
    pool = pools.of(peer.endpoint)
    while not pool.empty:
        await asyncio.sleep(0)


async def test_request_on_a_connection_closed_before_it_was_unseen(
    peer: Peer, pools: EnginePools
) -> None:
    """The engine closed an idle connection in the moment of the request: it cannot have seen it."""
    await answered(peer, pools)
    peer.accepted[0].close()
    receiver = Receiver()
    pools.of(peer.endpoint).ask(receiver, REQUEST)  # before the loop could notice the close
    await receiver.over.wait()
    assert receiver.lost is not None
    assert receiver.lost.unseen


@pytest.mark.parametrize("how", [socket.SHUT_WR, socket.SHUT_RDWR, None])
@pytest.mark.parametrize(("read", "unseen"), [(0, True), (10, True), (10_000, False)])
async def test_request_is_unseen_only_if_some_of_it_was_not_read(
    peer: Peer, pools: EnginePools, read: int, unseen: bool, how: int | None
) -> None:
    """Whatever the engine read whole may have been begun, and must not be repeated."""
    receiver = Receiver()
    pools.of(peer.endpoint).ask(receiver, REQUEST)
    connection = await peer.accept()
    if read:
        await asyncio.to_thread(connection.recv, read)
    if how is None:
        connection.close()
    else:
        connection.shutdown(how)
    await receiver.over.wait()
    assert receiver.lost is not None
    assert receiver.lost.unseen is unseen
    assert pools.of(peer.endpoint).empty


async def test_large_request_is_sent_as_the_engine_takes_it(peer: Peer, pools: EnginePools) -> None:
    """Ten megabytes in three parts arrive whole although the socket takes much less at once."""
    parts = (b"a" * 5_000_000, memoryview(b"b" * 5_000_000), b"body")
    receiver = Receiver()
    pools.of(peer.endpoint).ask(receiver, parts)
    connection = await peer.accept()
    received = 0
    while received < 10_000_004:
        received += len(await asyncio.to_thread(connection.recv, 2**20))
    connection.sendall(OK)
    await receiver.over.wait()
    assert receiver.body == b"{}"
    assert pools.of(peer.endpoint).active == 0


async def test_answer_before_the_whole_request_ends_the_connection(
    peer: Peer, pools: EnginePools
) -> None:
    """An early answer counts; a connection with half a request in it is not used again."""
    receiver = Receiver()
    pools.of(peer.endpoint).ask(receiver, (b"x" * 10_000_000,))
    connection = await peer.accept()
    await asyncio.to_thread(connection.recv, 100)
    connection.sendall(OK)
    await receiver.over.wait()
    assert (receiver.body, receiver.lost) == (b"{}", None)
    assert pools.of(peer.endpoint).empty


async def test_paused_connection_reads_nothing_until_it_is_resumed(
    peer: Peer, pools: EnginePools
) -> None:
    """What the engine sends meanwhile stays in the socket, and the engine has to wait."""
    receiver = Receiver(as_it_is=True)
    engine = pools.of(peer.endpoint).ask(receiver, REQUEST)
    connection = await peer.accept()
    engine.pause()
    connection.settimeout(0)
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (4_000_000, b"x" * 4_000_000)
    left = memoryview(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    left = left[connection.send(left) :]  # as much as the socket takes
    for _ in range(10):
        await asyncio.sleep(0)
    assert receiver.head is None
    engine.resume()
    connection.settimeout(10)
    await asyncio.to_thread(connection.sendall, left)
    await receiver.over.wait()
    assert receiver.body == body


async def test_connection_that_was_paused_to_the_end_reads_the_next_answer(
    peer: Peer, pools: EnginePools
) -> None:
    """A client that is behind when its response is complete does not stop the next one's."""

    class Slow(Receiver):
        def engine_body(self, data: bytes) -> None:
            super().engine_body(data)
            engine.pause()

    receiver = Slow()
    engine = pools.of(peer.endpoint).ask(receiver, REQUEST)
    connection = await peer.accept()
    await read_request(connection)
    connection.sendall(OK)
    await receiver.over.wait()
    again = Receiver()
    assert pools.of(peer.endpoint).ask(again, REQUEST) is engine
    await read_request(connection)
    connection.sendall(OK)
    await again.over.wait()
    assert again.body == b"{}"


@pytest.mark.parametrize(
    "reply", [OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]
)
async def test_an_end_that_cannot_be_handled_is_a_loss(
    peer: Peer, pools: EnginePools, reply: bytes
) -> None:
    """Whoever waits for a response is told, whatever goes wrong at its end."""

    class Surprised(Receiver):
        def engine_done(self) -> None:
            raise ZeroDivisionError

    receiver = Surprised()
    engine = pools.of(peer.endpoint).ask(receiver, REQUEST)
    connection = await peer.accept()
    await read_request(connection)
    connection.sendall(reply)
    async with asyncio.timeout(10):
        await receiver.over.wait()
    assert receiver.lost is not None
    assert "could not be handled" in receiver.lost.reason
    assert pools.of(peer.endpoint).active == 0
    again = pools.of(peer.endpoint).ask(Receiver(), REQUEST)
    assert again is not engine
    again.close()


async def test_closed_connection_is_seen_by_the_engine_and_tells_nobody(
    peer: Peer, pools: EnginePools
) -> None:
    """Cancelling: the engine reads the end, the receiver hears nothing more."""
    receiver = Receiver()
    engine = pools.of(peer.endpoint).ask(receiver, REQUEST)
    connection = await peer.accept()
    await read_request(connection)
    engine.close()
    engine.close()
    assert await asyncio.to_thread(connection.recv, 1) == b""
    assert receiver.lost is None
    assert pools.of(peer.endpoint).empty


async def test_limit_of_requests_at_one_engine(peer: Peer, pools: EnginePools) -> None:
    """Beyond the limit a request is refused before it is sent."""
    engines = []
    for _ in range(2):
        engines.append(pools.of(peer.endpoint).ask(Receiver(), REQUEST))
        await peer.accept()
        engines.append(pools.of(peer.endpoint).ask(Receiver(), REQUEST))
        await peer.accept()
    with pytest.raises(Overloaded):
        pools.of(peer.endpoint).ask(Receiver(), REQUEST)
    for engine in engines:
        engine.close()


async def test_engine_that_does_not_listen(tmp_path: Path, pools: EnginePools) -> None:
    """A socket that nobody listens on is an OSError at once, and leaves nothing behind."""
    pool = pools.of(Endpoint(str(tmp_path / "nobody.sock")))
    with pytest.raises(OSError, match="No such file"):
        pool.ask(Receiver(), REQUEST)
    assert pool.empty


async def test_idle_connection_that_speaks_is_closed(peer: Peer, pools: EnginePools) -> None:
    """Bytes that nobody asked for would be taken for the next answer."""
    await answered(peer, pools)
    peer.accepted[0].sendall(OK)
    assert await asyncio.to_thread(peer.accepted[0].recv, 1) == b""
    assert pools.of(peer.endpoint).empty


STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Patient(Receiver):
    """One who wants the whole response and nothing before."""

    engine: EngineConnection

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()

    def engine_head(self, head: ResponseHead) -> bool:
        self.engine.read_at_the_end()
        self.began.set()
        return super().engine_head(head)


async def streamed(peer: Peer, pools: EnginePools, *, closes: bool) -> EngineConnection:
    """Have a stream of two pieces answered, after which the engine closes or not."""
    receiver = Patient()
    receiver.engine = pools.of(peer.endpoint).ask(receiver, REQUEST)
    connection = await peer.accept()
    await read_request(connection)
    connection.sendall(STREAM)
    await receiver.began.wait()
    connection.sendall(b"1\r\na\r\n")
    connection.sendall(b"1\r\nb\r\n0\r\n\r\n")
    if closes:
        connection.close()
    await receiver.over.wait()
    assert (receiver.body, receiver.lost) == (b"ab", None)
    return receiver.engine


async def test_a_whole_answer_is_read_when_the_engine_has_closed(
    peer: Peer, pools: EnginePools
) -> None:
    """However many pieces it has."""
    assert (await streamed(peer, pools, closes=True)).late is not None
    assert pools.of(peer.endpoint).empty


ERROR = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize("reply", [STREAM + b"2\r\n{}\r\n0\r\n\r\n", ERROR])
@pytest.mark.parametrize("kept", [False, True])
async def test_not_even_the_head_is_looked_at_before_the_end(
    peer: Peer, pools: EnginePools, reply: bytes, *, kept: bool
) -> None:
    """Where the request asks the engine to close, a stream and an error are read when it has."""
    if kept:
        await answered(peer, pools)
    receiver = Receiver()
    pool = pools.of(peer.endpoint)
    pool.ask(receiver, REQUEST, at_the_end=True)
    connection = peer.accepted[0] if kept else await peer.accept()
    await read_request(connection)
    connection.sendall(reply)
    connection.close()
    await receiver.over.wait()
    assert (receiver.body, receiver.lost) == (b"{}", None)
    assert pool.empty


async def test_an_engine_that_does_not_close_is_not_waited_for(
    peer: Peer, pools: EnginePools
) -> None:
    """After three answers whose end was found by looking, the next one is read as it comes."""
    for _ in range(3):
        engine = await streamed(peer, pools, closes=False)
        assert (engine.hangs_up, engine.late) == (True, True)
    engine = await streamed(peer, pools, closes=False)
    assert (engine.hangs_up, engine.late) == (False, None)
    assert pools.of(peer.endpoint).empty


async def test_much_at_once_is_read_as_it_comes(peer: Peer, pools: EnginePools) -> None:
    """An engine that is faster than we look is not held up by what the kernel takes."""
    receiver = Patient()
    receiver.engine = pools.of(peer.endpoint).ask(receiver, REQUEST)
    connection = await peer.accept()
    await read_request(connection)
    connection.sendall(STREAM)
    await receiver.began.wait()
    piece = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    for _ in range(100):
        await asyncio.to_thread(connection.sendall, piece)
    connection.sendall(b"0\r\n\r\n")
    await receiver.over.wait()
    assert len(receiver.body) == 100 * 0x8000
