"""One epoll for many descriptors."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from runnerd.relay.poller import ENDED, READABLE, WRITABLE, Poller


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    """A poller that is closed in the end."""
    poller = Poller()
    yield poller
    poller.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


async def test_what_is_the_matter_is_told(poller: Poller, pair: Pair) -> None:
    """Room to write, something to read, and nothing once it is forgotten."""
    ours, theirs = pair
    told: asyncio.Queue[int] = asyncio.Queue()
    poller.watch(ours.fileno(), told.put_nowait, WRITABLE)
    assert await told.get() == WRITABLE
    poller.watch(ours.fileno(), told.put_nowait, READABLE)
    theirs.send(b"x")
    while await told.get() != READABLE:
        pass
    poller.forget(ours.fileno())
    poller.forget(ours.fileno())
    while not told.empty():
        told.get_nowait()
    for _ in range(3):
        await asyncio.sleep(0)
    assert told.empty()


async def test_an_end_is_told_at_once_and_what_comes_before_it_now_and_then(
    poller: Poller, pair: Pair
) -> None:
    """Who waits for the end is called as readable by rounds, and with the end when it is there."""
    ours, theirs = pair
    told: asyncio.Queue[int] = asyncio.Queue()
    poller.watch(ours.fileno(), told.put_nowait, ENDED)
    theirs.send(b"x")
    assert await told.get() == READABLE
    theirs.close()
    while not await told.get() & ENDED:
        pass


async def test_steps_are_taken_after_all_that_has_happened(poller: Poller) -> None:
    """What two connections bring is handled before either one's step, and later steps at once."""
    pairs = [socket.socketpair() for _ in range(2)]
    seen: list[str] = []
    done = asyncio.Event()

    def happened(events: int) -> None:
        seen.append("handled")
        poller.afterwards(lambda: seen.append("step"))
        if seen.count("handled") == 2:
            poller.afterwards(done.set)
        for ours, _ in pairs:
            if events and len(seen) == 2:
                poller.forget(ours.fileno())

    for ours, theirs in pairs:
        poller.watch(ours.fileno(), happened, READABLE)
        theirs.send(b"x")
    await done.wait()
    assert seen == ["handled", "handled", "step", "step"]
    poller.afterwards(lambda: seen.append("now"))
    assert seen[-1] == "now"
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


async def test_one_that_fails_does_not_stop_the_others(
    poller: Poller, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; whoever comes after it is called."""
    pairs = [socket.socketpair() for _ in range(2)]
    called: set[int] = set()
    done = asyncio.Event()

    def handler(index: int) -> None:
        called.add(index)
        poller.forget(pairs[index][0].fileno())
        if len(called) == 2:
            poller.afterwards(done.set)
        raise ValueError("a mistake")

    for index, (ours, theirs) in enumerate(pairs):
        poller.watch(ours.fileno(), lambda _, index=index: handler(index), READABLE)  # type: ignore[misc]
        theirs.send(b"x")
    await done.wait()
    assert caplog.text.count("could not be handled") == 2
    for ours, theirs in pairs:
        ours.close()
        theirs.close()
