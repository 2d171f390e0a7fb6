"""Who may write the result of a ProtoLLM job, on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime

import pytest

from runnerd.errors import DatabaseFailure
from runnerd.jobs.fleet.protollm.result_keys import JobStatus, Outcome, ResultKeys
from runnerd.jobs.fleet.result_store import ResultStore
from tests.support.brokers import Redis, running_redis
from tests.support.prompt_results import ListedJournal, open_store

KEYS = ResultKeys()
NOW = datetime(2026, 1, 1)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with running_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
def journal() -> ListedJournal:
    return ListedJournal()


@pytest.fixture
async def store(redis: Redis, journal: ListedJournal) -> AsyncIterator[ResultStore]:
    async with open_store(redis.url, journal) as found:
        yield found


async def test_the_last_claim_counts(store: ResultStore) -> None:
    """Who was cut off and hands in late changes nothing."""
    assert await store.claim("a", "first", again=False) is not None
    second = await store.claim("a", "second", again=True)
    assert second is not None
    assert second.tries == 2
    late = KEYS.completed("a", "late", NOW)
    assert not await store.finish("a", "first", late)
    assert await store.outcome("a") is None
    assert await store.finish("a", "second", KEYS.completed("a", "right", NOW))
    assert not await store.finish("a", "first", late)
    assert await store.outcome("a") == Outcome(JobStatus.COMPLETED, "right")


async def test_done_is_done(store: ResultStore) -> None:
    """A task that comes again after its result is not run again; a new one of that id is."""
    await store.claim("b", "one", again=False)
    await store.finish("b", "one", KEYS.completed("b", "x", NOW))
    assert await store.claim("b", "two", again=True) is None
    fresh = await store.claim("b", "three", again=False)
    assert fresh is not None
    assert (fresh.tries, fresh.reasons) == (1, ())


async def test_reasons_are_kept(store: ResultStore) -> None:
    """For whoever tries next."""
    await store.claim("c", "one", again=False)
    await store.tried("c", "one", ["no luck", "two\nlines"])
    found = await store.claim("c", "two", again=True)
    assert found is not None
    assert found.reasons == ("no luck", "two lines")


async def test_an_id_is_somebodys(store: ResultStore) -> None:
    """The first one's."""
    assert await store.owner("d") is None
    pending = KEYS.pending("d", "{}", NOW)
    assert await store.take("d", "ann", pending)
    assert not await store.take("d", "bob", pending)
    assert await store.owner("d") == "ann"
    assert await store.outcome("d") == Outcome(JobStatus.PENDING)
    await store.claim("d", "one", again=False)
    assert await store.finish("d", "one", KEYS.completed("d", "x", NOW))
    assert await store.take("d", "ann", pending)
    assert await store.outcome("d") == Outcome(JobStatus.PENDING)


async def test_a_result_is_read_once_it_is_kept(store: ResultStore, journal: ListedJournal) -> None:
    """A worker that dies meanwhile has decided it: who gets the task then hands that one in."""
    await store.claim("f", "one", again=False)
    journal.failure = DatabaseFailure("no broker")
    with pytest.raises(DatabaseFailure):
        await store.finish("f", "one", KEYS.completed("f", "first", NOW))
    assert await store.outcome("f") is None
    journal.failure = None
    assert await store.claim("f", "two", again=True) is None
    assert await store.outcome("f") == Outcome(JobStatus.COMPLETED, "first")
    assert [entry["token"] for entry in journal.entries] == ["one"]


async def test_nobody_listens(store: ResultStore) -> None:
    """That is no error."""
    assert await store.announce(KEYS.channels("e")) == 0
