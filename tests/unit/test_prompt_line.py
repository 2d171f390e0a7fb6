"""Prompts of one session stand in line."""

from __future__ import annotations

import asyncio

import pytest

from runnerd import tasks
from runnerd.errors import Overloaded
from runnerd.sessions.prompt_line import PromptLines


class Asking:
    """Somebody who stands in line, and goes when told to."""

    def __init__(self, lines: PromptLines, session: str, order: list[str], name: str) -> None:
        self.leave = asyncio.Event()
        self.interrupted: bool | None = None
        self.stops = 0
        self._lines, self._session, self._order, self._name = lines, session, order, name
        self.task = tasks.spawn(self._ask(), name=name)

    async def _ask(self) -> None:
        async with self._lines.place(self._session) as standing:
            self._order.append(self._name)
            standing.stops_by(self._stop)
            await self.leave.wait()
            self.interrupted = standing.interrupted

    def _stop(self) -> None:
        self.stops += 1


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_at_a_time_in_the_order_they_came() -> None:
    """Other sessions have lines of their own; who leaves keeps nobody waiting."""
    lines, order = PromptLines(), list[str]()
    first, second, third = (Asking(lines, "s", order, name) for name in "abc")
    other = Asking(lines, "t", order, "o")
    await settle()
    assert order == ["a", "o"]
    assert (lines.waiting("s"), lines.waiting("t"), lines.waiting("u")) == (3, 1, 0)
    await tasks.cancel_and_wait(second.task)
    first.leave.set()
    await settle()
    assert order == ["a", "o", "c"]
    for each in (third, other):
        each.leave.set()
        await each.task
    assert (lines.waiting("s"), lines.waiting("t")) == (0, 0)


async def test_an_interruption_is_for_all_that_stand_there_then() -> None:
    """Who is being answered is stopped once, who waits does not wait on, who comes later may."""
    lines, order = PromptLines(), list[str]()
    first, second = (Asking(lines, "s", order, name) for name in "ab")
    await settle()
    assert lines.interrupt("s") == 2
    assert lines.interrupt("s") == 0
    await settle()
    assert (order, first.stops, second.stops) == (["a", "b"], 1, 1)
    third = Asking(lines, "s", order, "c")
    await settle()
    assert order == ["a", "b"]
    for each in (first, second, third):
        each.leave.set()
        await each.task
    assert [first.interrupted, second.interrupted, third.interrupted] == [True, True, False]
    assert lines.interrupt("s") == 0


async def test_a_line_is_bounded() -> None:
    """More than sixteen are told to come back."""
    lines = PromptLines()
    asking = [Asking(lines, "s", [], str(number)) for number in range(16)]
    await settle()
    with pytest.raises(Overloaded):
        async with lines.place("s"):
            pass
    for each in asking:
        each.leave.set()
        await each.task
