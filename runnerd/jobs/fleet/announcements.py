"""What is announced on Redis' channels: one subscription for everybody in a process who listens.

An announcement only says that there may be news.  It can be missed (Redis restarts, a connection
breaks), so whoever waits for one looks by itself from time to time as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence

from redis.asyncio.client import PubSub

from runnerd import tasks
from runnerd.jobs.fleet.redis_client import COMMAND_SECONDS, GONE, open_redis

log = logging.getLogger(__name__)

LOOK_INTERVAL = 5.0  # seconds
_AGAIN = 0.5

Listener = Callable[[bytes], None]


class Announcements:
    """Tells listeners what is announced on their channels."""

    def __init__(self, url: str) -> None:
        self._redis = open_redis(url)
        self._listeners: dict[str, list[Listener]] = {}
        self._pubsub: PubSub | None = None
        self._reader: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def on(
        self, channels: Sequence[str], again: float | None = None
    ) -> AsyncIterator[asyncio.Event]:
        """An event that is set by each announcement on some channels, from now on, and each `again`
        seconds.
        """
        event = asyncio.Event()

        def listener(_: bytes) -> None:
            event.set()

        await self.listen(channels, listener)
        ticking = None if again is None else tasks.spawn(_tick(event, again), name="look again")
        try:
            yield event
        finally:
            if ticking is not None:
                await tasks.cancel_and_wait(ticking)
            await self._leave(channels, listener)

    async def listen(self, channels: Sequence[str], listener: Listener) -> None:
        """Call `listener` with each announcement on some channels."""
        new = [channel for channel in channels if channel not in self._listeners]
        for channel in channels:
            self._listeners.setdefault(channel, []).append(listener)
        if self._pubsub is None:
            self._pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
        with contextlib.suppress(*GONE):  # else the listeners look for themselves
            if new:
                async with asyncio.timeout(COMMAND_SECONDS):
                    await self._pubsub.subscribe(*new)
        if self._reader is None:
            self._reader = tasks.spawn(self._read(self._pubsub), name="announcements")

    async def _leave(self, channels: Sequence[str], listener: Listener) -> None:
        for channel in channels:
            self._listeners[channel].remove(listener)
        over = [channel for channel in channels if not self._listeners[channel]]
        for channel in over:
            del self._listeners[channel]
        with contextlib.suppress(*GONE):
            if over and self._pubsub is not None:
                async with asyncio.timeout(COMMAND_SECONDS):
                    await self._pubsub.unsubscribe(*over)

    async def _read(self, pubsub: PubSub) -> None:
        """Pass announcements on; redis-py connects and subscribes again by itself."""
        while True:
            try:
                async with asyncio.timeout(LOOK_INTERVAL + COMMAND_SECONDS):
                    if not pubsub.subscribed:
                        await self._subscribe_again(pubsub)
                        continue
                    message = await pubsub.get_message(timeout=LOOK_INTERVAL)
            except GONE as error:
                log.debug("no announcements at the moment: %s", error)
                await asyncio.sleep(_AGAIN)
                continue
            if message is not None:
                for listener in list(self._listeners.get(message["channel"].decode(), ())):
                    listener(message["data"])

    async def _subscribe_again(self, pubsub: PubSub) -> None:
        if self._listeners:
            await pubsub.subscribe(*self._listeners)
        else:
            await asyncio.sleep(_AGAIN)

    async def close(self) -> None:
        """End all subscriptions."""
        if self._reader is not None:
            await tasks.cancel_and_wait(self._reader)
        if self._pubsub is not None:
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        await self._redis.aclose()


async def _tick(event: asyncio.Event, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        event.set()
