"""When a source is asked again."""

from __future__ import annotations

import asyncio

import pytest

from runnerd.errors import RunnerdError, SourceBusy
from runnerd.pulls.retrying import is_worth_waiting, pause_after, persistently, retry_after

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": "9" * 400}, 999_999_999.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": DATE}, 30.0),
        ({"Retry-After": DATE, "Date": "Wed, 21 Oct 2015 07:29:00 GMT"}, 0.0),
        ({"Retry-After": DATE}, None),
        ({"Retry-After": "soon", "Date": DATE}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "٣"}, None),
        ({}, None),
    ],
)
def test_what_a_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, or a date by its own clock; anything else says nothing."""
    assert retry_after(headers) == seconds


def test_pauses_grow_and_heed_the_server() -> None:
    """Within their jitter; a server that names a time is not asked before."""
    error = SourceBusy("busy")
    for failures, middle in ((1, 0.5), (3, 2.0), (50, 30.0)):
        pauses = {pause_after(failures, error) for _ in range(100)}
        assert 0.75 * middle <= min(pauses) <= max(pauses) <= 1.25 * middle
        assert len(pauses) > 1
    assert pause_after(1, SourceBusy("busy", retry_after=60)) >= 60


def test_what_nobody_waits_for() -> None:
    """A time that is too long, or a failure that says it is for good."""
    assert is_worth_waiting(SourceBusy("busy", retry_after=300))
    assert not is_worth_waiting(SourceBusy("busy", retry_after=301))
    assert not is_worth_waiting(SourceBusy("busy", should_retry=False))


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited, without waiting."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return waited


def test_persistence_ends(pauses: list[float]) -> None:
    """A few times; then what the server said is raised.  A failure of another kind is at once."""
    outcomes: list[RunnerdError] = []

    async def busy() -> None:
        outcomes.append(SourceBusy("busy"))
        raise outcomes[-1]

    with pytest.raises(SourceBusy):
        asyncio.run(persistently(busy))
    assert (len(outcomes), len(pauses)) == (5, 4)

    async def broken() -> None:
        raise RunnerdError("broken")

    with pytest.raises(RunnerdError, match="broken"):
        asyncio.run(persistently(broken))
    assert len(pauses) == 4


def test_persistence_helps(pauses: list[float]) -> None:
    """Who follows is told why it takes longer."""
    told: list[str] = []
    failures = [SourceBusy("busy"), SourceBusy("still busy")]

    async def ask() -> str:
        if failures:
            raise failures.pop(0)
        return "here"

    assert asyncio.run(persistently(ask, told.append)) == "here"
    assert [text.partition(";")[0] for text in told] == ["busy", "still busy"]
