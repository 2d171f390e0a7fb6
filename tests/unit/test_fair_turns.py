"""Turns go to whoever has had least, and are lost by nobody who leaves."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runnerd.errors import Overloaded
from runnerd.relay.fair_turns import FairTurns
from runnerd.tasks import spawn


class Crowd:
    """Requests that take turns, each of which lasts until it is let go."""

    def __init__(self, most_waiting: int | None = None) -> None:
        self.turns = FairTurns("the work", most_waiting)
        self.order: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._end = asyncio.Event()

    async def comes(self, who: str) -> asyncio.Task[None]:
        async def work() -> None:
            async with self.turns.turn(who):
                self.order.append(who)
                await self._end.wait()

        task = spawn(work(), name=who, quiet=True)
        self.tasks.append(task)
        await asyncio.sleep(0)
        return task

    async def end(self) -> None:
        """Let all go, one after the other."""
        self._end.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_one_waits_for_no_more_than_one_of_a_hundred_of_another() -> None:
    crowd = Crowd()
    for _ in range(100):
        await crowd.comes("many")
    await crowd.comes("one")
    await crowd.end()
    assert crowd.order[:2] == ["many", "one"]
    assert len(crowd.order) == 101


async def test_each_may_have_so_many_that_wait() -> None:
    crowd = Crowd(most_waiting=2)
    for _ in range(3):
        await crowd.comes("many")
    refused = await crowd.comes("many")
    with pytest.raises(Overloaded, match="2 of your requests wait for the work"):
        await refused
    assert not (await crowd.comes("one")).done()
    await crowd.end()
    assert crowd.order == ["many", "one", "many", "many"]


async def test_who_leaves_as_its_turn_comes_passes_it_on() -> None:
    crowd = Crowd()
    first, second = await crowd.comes("a"), await crowd.comes("b")
    await crowd.comes("c")
    first.cancel()
    await asyncio.sleep(0)  # the turn is given to b, which does not know it yet
    second.cancel()
    await crowd.end()
    assert crowd.order == ["a", "c"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30))
def test_nobody_is_forgotten_and_none_are_served_at_once(said: list[tuple[str, bool]]) -> None:
    """Whoever comes in whatever order, and whoever leaves."""

    async def all_of_them() -> None:
        turns, served, within = FairTurns("the work"), 0, 0

        async def work(who: str) -> None:
            nonlocal served, within
            async with turns.turn(who):
                within += 1
                assert within == 1
                try:
                    await asyncio.sleep(0)
                finally:
                    within -= 1
                served += 1

        tasks = []
        for who, leaves in said:
            tasks.append(spawn(work(who), name=who, quiet=True))
            await asyncio.sleep(0)
            if leaves:
                tasks[len(tasks) // 2].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert served == sum(result is None for result in results)
        assert not any(isinstance(result, AssertionError) for result in results)
        async with asyncio.timeout(60), turns.turn("a"):
            pass  # it is free

    asyncio.run(all_of_them())
