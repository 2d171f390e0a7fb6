"""Work that is done together."""

from __future__ import annotations

import asyncio

import pytest

from runnerd import tasks
from runnerd.jobs.fleet.grouping import Grouped


async def test_those_who_come_meanwhile_go_together() -> None:
    """The first at once, the others in groups; an exception is for its item alone."""
    groups: list[list[int]] = []
    go_on = asyncio.Event()

    async def work(items: list[int]) -> list[int | Exception]:
        groups.append(items)
        await go_on.wait()
        return [ValueError("no") if item == 3 else item * 2 for item in items]

    grouped = Grouped(work, 2)
    asked = [tasks.spawn(grouped.do(item), name="item") for item in range(1, 6)]
    while not groups:
        await asyncio.sleep(0)
    go_on.set()
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(result) for result in results] == ["2", "4", "no", "8", "10"]
    assert groups == [[1, 2], [3, 4], [5]]
    await grouped.close()


async def test_all_fail() -> None:
    """What the work raises is raised for all of a group, and the next one is done."""
    fails = True

    async def work(items: list[int]) -> list[int]:
        if fails:
            raise ValueError("no")
        return items

    grouped: Grouped[int, int] = Grouped(work, 9)
    with pytest.raises(ValueError, match="no"):
        await grouped.do(1)
    fails = False
    assert await grouped.do(2) == 2
