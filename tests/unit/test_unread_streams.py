"""runnerd.relay.unread_streams: who ends, and who may go on."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from runnerd.relay import unread_streams
from runnerd.relay.unread_streams import UnreadStreams
from runnerd.scheduler import RunnerKey

KEY = cast(RunnerKey, "model")


class Stream:
    """A stream with so much unread, of which the client takes some between two looks."""

    key = KEY

    def __init__(self, unread: int, takes: int = 0) -> None:
        self._unread = unread
        self._takes = takes
        self.ended = asyncio.Event()
        self.looks = 0

    def unread_bytes(self) -> int:
        self.looks += 1
        self._unread -= self._takes
        return self._unread

    def give_up(self) -> None:
        self.ended.set()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread_streams, "_INTERVAL", 0.001)


async def test_as_many_end_as_are_waited_for_longest_unread_first() -> None:
    """And none of them whose client reads."""
    streams = UnreadStreams(lambda key: 1)
    reads, first, second = Stream(10**6, takes=1), Stream(10), Stream(10)
    for each in (reads, first, second):
        streams.add(each)
    await first.ended.wait()
    assert not second.ended.is_set()
    await second.ended.wait()
    looks = reads.looks
    while reads.looks < looks + 3:
        await asyncio.sleep(0)
    assert not reads.ended.is_set()
    streams.close()


async def test_nobody_ends_while_nobody_waits() -> None:
    """However long nothing is read."""
    streams = UnreadStreams(lambda key: 0)
    unread, removed = Stream(10), Stream(10)
    streams.add(unread)
    streams.add(removed)
    streams.remove(removed)
    looks = removed.looks
    while unread.looks < 5:
        await asyncio.sleep(0)
    assert not unread.ended.is_set()
    assert removed.looks == looks
    streams.remove(unread)
    streams.close()


async def test_one_look_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the end of one stream is the beginning of another one, on the same connection."""
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    call_later = loop.call_later

    def counted(*args: Any) -> asyncio.TimerHandle:
        timers.append(call_later(*args))
        return timers[-1]

    streams = UnreadStreams(lambda key: 1)
    following = Stream(10)

    class Pipelined(Stream):
        def give_up(self) -> None:
            streams.add(following)
            super().give_up()

    first = Pipelined(10)
    monkeypatch.setattr(loop, "call_later", counted)
    streams.add(first)
    await first.ended.wait()
    assert len(timers) == 2
    streams.close()
    assert timers[-1].cancelled()
