"""Waiting for results in Redis: one subscription for all who wait.

An announcement only says that there may be news.  It can be missed (Redis restarts, a connection
breaks), so whoever waits looks by itself from time to time as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

from redis.asyncio.client import PubSub

from runnerd import tasks
from runnerd.jobs.fleet.redis_client import GONE, open_redis

log = logging.getLogger(__name__)

LOOK_INTERVAL = 5.0  # seconds
_AGAIN = 0.5


class ResultWatch:
    """Tells who waits that something was announced on a channel."""

    def __init__(self, url: str) -> None:
        self._redis = open_redis(url)
        self._events: dict[str, set[asyncio.Event]] = {}
        self._pubsub: PubSub | None = None
        self._reader: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def on(self, channels: Sequence[str]) -> AsyncIterator[asyncio.Event]:
        """An event that is set by each announcement on some channels, from now on."""
        event = asyncio.Event()
        new = [channel for channel in channels if channel not in self._events]
        for channel in channels:
            self._events.setdefault(channel, set()).add(event)
        try:
            with contextlib.suppress(*GONE):  # else the waiting look for themselves
                await self._subscribe(new)
            yield event
        finally:
            for channel in channels:
                self._events[channel].discard(event)
            over = [channel for channel in channels if not self._events[channel]]
            for channel in over:
                del self._events[channel]
            with contextlib.suppress(*GONE):
                if over and self._pubsub is not None:
                    await self._pubsub.unsubscribe(*over)

    async def _subscribe(self, channels: Sequence[str]) -> None:
        if self._pubsub is None:
            self._pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
        if channels:
            await self._pubsub.subscribe(*channels)
        if self._reader is None:
            self._reader = tasks.spawn(self._read(self._pubsub), name="announcements of results")

    async def _read(self, pubsub: PubSub) -> None:
        """Pass announcements on; redis-py connects and subscribes again by itself."""
        while True:
            try:
                if not pubsub.subscribed:
                    await asyncio.sleep(_AGAIN)
                    continue
                message = await pubsub.get_message(timeout=LOOK_INTERVAL)
            except GONE as error:
                log.debug("no announcements at the moment: %s", error)
                await asyncio.sleep(_AGAIN)
                continue
            if message is not None:
                for event in self._events.get(message["channel"].decode(), ()):
                    event.set()

    async def close(self) -> None:
        """End all subscriptions."""
        if self._reader is not None:
            await tasks.cancel_and_wait(self._reader)
        if self._pubsub is not None:
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        await self._redis.aclose()
