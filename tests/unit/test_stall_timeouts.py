"""One timer for all: who is told of silence, and that nothing runs when nobody is watched."""

from __future__ import annotations

import asyncio

from runnerd.relay.stall_timeouts import StallTimeouts


class Exchange:
    """Something that is watched."""

    def __init__(self, watch: StallTimeouts) -> None:
        self.heard = False
        self.silent_since = 0.0
        self.told = asyncio.Event()
        self.watch = watch

    def silent(self) -> None:
        self.watch.remove(self)
        self.told.set()


async def test_only_the_silent_one_is_told() -> None:
    """The one that hears something again and again is left alone."""
    watch = StallTimeouts(0.05)
    quiet, busy = Exchange(watch), Exchange(watch)
    watch.add(quiet)
    watch.add(busy)
    while not quiet.told.is_set():
        busy.heard = True
        await asyncio.sleep(0)
    assert not busy.told.is_set()
    watch.remove(busy)
    watch.close()


async def test_watching_starts_again_after_a_pause() -> None:
    """When the last one has left, the rounds end; the next one is watched as well."""
    watch = StallTimeouts(0.02)
    for _ in range(2):
        exchange = Exchange(watch)
        watch.add(exchange)
        await exchange.told.wait()
    watch.close()
