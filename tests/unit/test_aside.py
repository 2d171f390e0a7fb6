"""An event loop looks closely at what is small or known; a thread at everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from runnerd.relay import aside

LARGE = b"x" * 5000
HUGE = b"x" * 2**18


@pytest.fixture
def looked() -> list[int]:
    """How large each text was that was looked at."""
    return []


@pytest.fixture
def find(looked: list[int]) -> Callable[[str, bytes], int]:
    def look(name: str, text: bytes) -> int:
        looked.append(len(text))
        return len(text)

    return aside.remembered(look)


def test_a_thread_looks_at_everything(find: Callable[[str, bytes], int]) -> None:
    """And has all the time for it."""
    assert find("tools", HUGE) == len(HUGE)
    assert aside.at_once(1000, 10) == 1000
    aside.check_spent(1000, 10)


async def test_an_event_loop_looks_at_what_is_small(
    find: Callable[[str, bytes], int], looked: list[int]
) -> None:
    """The rest takes longer, until a thread has looked at it; what is huge is never remembered."""
    assert find("tools", b"x") == 1
    for text in (LARGE, HUGE):
        with pytest.raises(aside.TakesLonger):
            find("tools", text)
    assert looked == [1]
    for text in (LARGE, HUGE):
        await asyncio.to_thread(find, "tools", text)
    assert find("tools", LARGE) == len(LARGE)
    assert looked == [1, len(LARGE), len(HUGE)]
    with pytest.raises(aside.TakesLonger):
        find("tools", HUGE)
    with pytest.raises(aside.TakesLonger):
        find("grammar", LARGE)  # another member


async def test_an_event_loop_does_little_of_what_is_long() -> None:
    """And never takes what it has found for all there is."""
    assert aside.at_once(1000, 10) == 10
    assert aside.at_once(5, 10) == 5
    aside.check_spent(9, 10)
    with pytest.raises(aside.TakesLonger):
        aside.check_spent(10, 10)


async def test_what_was_refused_is_not_remembered() -> None:
    """It raises again."""

    def refuse(name: str, text: bytes) -> None:
        raise ValueError(name)

    for _ in range(2):
        with pytest.raises(ValueError, match="tools"):
            aside.remembered(refuse)("tools", b"x")
