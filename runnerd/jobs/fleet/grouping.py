"""Work that is done together while an earlier group is under way.

A round trip to RabbitMQ and Redis costs the same for one job as for a hundred.  Whoever comes first
goes at once; those who come meanwhile go together when it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from runnerd import tasks

T = TypeVar("T")
R = TypeVar("R")


class Grouped(Generic[T, R]):
    """`work` takes several items and returns what becomes of each, in order; an exception among
    those is raised for that item alone.
    """

    def __init__(
        self, work: Callable[[list[T]], Awaitable[Sequence[R | Exception]]], most: int
    ) -> None:
        self._work = work
        self._most = most
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._running: asyncio.Task[None] | None = None

    async def do(self, item: T) -> R:
        """Have an item done, with others."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None:
            self._running = tasks.spawn(self._run(), name="a group")
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                group = self._waiting[: self._most]
                del self._waiting[: self._most]
                await self._settle(group)
        finally:
            self._running = None
            for _, future in self._waiting:
                future.cancel()
            self._waiting.clear()

    async def _settle(self, group: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._work([item for item, _ in group])
        except Exception as error:
            results = [error] * len(group)
        except asyncio.CancelledError:
            for _, future in group:
                future.cancel()
            raise
        for (_, future), result in zip(group, results, strict=True):
            if future.done():  # who wanted it has left
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    async def close(self) -> None:
        """End what is under way."""
        if self._running is not None:
            await tasks.cancel_and_wait(self._running)
