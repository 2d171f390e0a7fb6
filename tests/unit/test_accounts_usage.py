"""What was used: counted in memory, written down together, added up by user, model or day."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass

import pytest

from runnerd.accounts import usage as usage_module
from runnerd.accounts import usage_rows
from runnerd.accounts.usage import DAY, KEPT_DAYS, Period, UsageStore
from runnerd.accounts.usage_rows import Used
from runnerd.database import Database
from runnerd.errors import ModelNotFound

COVERS = ("runnerd.accounts.usage_rows",)

TODAY = 20_000
ALL = Period(0, TODAY)
CALLED = {"user a": "ann", "user b": "bob"}
NAMES = {"m1": "ai/one", "m2": "ai/two"}


@dataclass(frozen=True)
class Tokens:
    prompt: int | None
    generated: int | None


@dataclass(frozen=True)
class Request:
    """A request that has ended."""

    model: str = "m1"
    status: int = 200
    error: str | None = None
    started_at: float = TODAY * DAY + 5.0
    usage: Tokens = Tokens(10, 5)


def name_of(id: str) -> str:
    if id not in NAMES:
        raise ModelNotFound(f"no model {id}")
    return NAMES[id]


@pytest.fixture
def usage(database: Database) -> UsageStore:
    return UsageStore(
        database, name_of, lambda id: CALLED.get(id, id), clock=lambda: TODAY * DAY + 60.0
    )


async def test_sums(usage: UsageStore) -> None:
    """By user, model and day; what the engine did not say counts as nothing."""
    usage.ended("user a", Request())
    usage.ended("user a", Request(model="m2", usage=Tokens(100, None)))
    usage.ended("user b", Request(status=502, error="it died", usage=Tokens(None, None)))
    usage.ended("user b", Request(started_at=(TODAY - 1) * DAY + 1.0))
    usage.ended("user b", Request(model="", status=404))  # of no model at all
    assert await usage.used("user", ALL) == [
        Used("user a", "ann", 2, 0, 110, 5),
        Used("user b", "bob", 2, 1, 10, 5),
    ]
    assert await usage.used("model", ALL) == [
        Used("ai/two", "ai/two", 1, 0, 100, 0),
        Used("ai/one", "ai/one", 3, 1, 20, 10),
    ]
    assert await usage.used("day", ALL) == [
        Used(TODAY, str(TODAY), 3, 1, 110, 5),
        Used(TODAY - 1, str(TODAY - 1), 1, 0, 10, 5),
    ]
    assert await usage.used("day", Period(TODAY, TODAY, "user b")) == [
        Used(TODAY, str(TODAY), 1, 1, 0, 0)
    ]
    assert await usage.tokens_of_today() == {"user a": 115, "user b": 0}


async def test_flushes_add_up(usage: UsageStore) -> None:
    """What is written twice is added; a model that is gone keeps the name that it had."""
    usage.ended("user a", Request())
    await usage.flush()
    for _ in range(1000):
        usage.ended("user a", Request())
    await usage.flush()
    await usage.flush()
    assert await usage.used("user", ALL) == [Used("user a", "ann", 1001, 0, 10010, 5005)]
    usage.ended("user a", Request(model="external"))
    assert [used.called for used in await usage.used("model", ALL)] == ["ai/one", "external"]


async def test_what_is_gone_keeps_its_name(database: Database) -> None:
    """A model or user that is removed before the last of its requests was written down."""
    names = {"m1": "ai/one", "user a": "ann"}

    def name(id: str) -> str:
        return names.get(id, id)

    usage = UsageStore(database, name, name, clock=lambda: TODAY * DAY + 60.0)
    usage.ended("user a", Request())
    await usage.flush()
    names.clear()
    usage.ended("user a", Request())
    assert [used.called for used in await usage.used("model", ALL)] == ["ai/one"]
    assert [used.called for used in await usage.used("user", ALL)] == ["ann"]


async def test_old_days_go(usage: UsageStore) -> None:
    """After more than a year."""
    usage.ended("user a", Request(started_at=(TODAY - KEPT_DAYS - 1) * DAY))
    usage.ended("user a", Request(started_at=(TODAY - KEPT_DAYS) * DAY))
    assert await usage.used("day", ALL) == [
        Used(TODAY - KEPT_DAYS, str(TODAY - KEPT_DAYS), 1, 0, 10, 5)
    ]


async def test_a_database_that_cannot_be_written(
    usage: UsageStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost: it is counted on and written later."""
    monkeypatch.setattr("runnerd.database.failures.LOCKED_SECONDS", 0.1)
    usage.ended("user a", Request())
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await usage.flush()
        usage.ended("user a", Request())
        assert await usage.used("user", ALL) == []
        other.execute("ROLLBACK")
    assert await usage.used("user", ALL) == [Used("user a", "ann", 2, 0, 20, 10)]


async def test_a_crowd_of_strangers(usage: UsageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: whom there is no room for is counted together."""
    monkeypatch.setattr(usage_module, "_MOST_KEYS", 2)
    for number in range(10):
        usage.ended(f"10.0.0.{number}", Request())
    found = {used.called: used.requests for used in await usage.used("user", ALL)}
    assert found == {"10.0.0.0": 1, "10.0.0.1": 1, "others": 8}


async def test_a_crowd_of_a_day(usage: UsageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day's lines are bounded, too; who is there already is counted on."""
    monkeypatch.setattr(usage_rows, "MOST_LINES", 2)
    for number in range(10):
        for _ in range(2):
            usage.ended(f"10.0.0.{number}", Request())
            await usage.flush()
    found = {used.called: used.requests for used in await usage.used("user", ALL)}
    assert found == {"10.0.0.0": 2, "10.0.0.1": 2, "others": 16}
