"""Who may write the result of a ProtoLLM job, on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime

import pytest

from runnerd.jobs.fleet.protollm.result_keys import JobStatus, Outcome, ResultKeys
from runnerd.jobs.fleet.result_store import ResultStore
from tests.support.brokers import Redis, running_redis

KEYS = ResultKeys()
NOW = datetime(2026, 1, 1)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with running_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
async def store(redis: Redis) -> AsyncIterator[ResultStore]:
    store = ResultStore(redis.url, KEYS, kept=60)
    yield store
    await store.close()


async def test_the_last_claim_counts(store: ResultStore) -> None:
    """Who was cut off and hands in late changes nothing."""
    assert await store.claim("a", "first", again=False) is not None
    second = await store.claim("a", "second", again=True)
    assert second is not None
    assert second.tries == 2
    late = KEYS.completed("a", "late", NOW)
    assert not await store.write("a", "first", late, last=True)
    assert await store.outcome("a") is None
    assert await store.write("a", "second", KEYS.completed("a", "right", NOW), last=True)
    assert not await store.write("a", "first", late, last=True)
    assert await store.outcome("a") == Outcome(JobStatus.COMPLETED, "right")


async def test_done_is_done(store: ResultStore) -> None:
    """A task that comes again after its result is not run again; a new one of that id is."""
    await store.claim("b", "one", again=False)
    await store.write("b", "one", KEYS.completed("b", "x", NOW), last=True)
    assert await store.claim("b", "two", again=True) is None
    fresh = await store.claim("b", "three", again=False)
    assert fresh is not None
    assert (fresh.tries, fresh.reasons) == (1, ())


async def test_reasons_are_kept(store: ResultStore) -> None:
    """For whoever tries next."""
    await store.claim("c", "one", again=False)
    await store.failed_once("c", ["no luck", "two\nlines"])
    found = await store.claim("c", "two", again=True)
    assert found is not None
    assert found.reasons == ("no luck", "two lines")


async def test_an_id_is_somebodys(store: ResultStore) -> None:
    """The first one's."""
    assert await store.owner("d") is None
    assert await store.own("d", "ann")
    assert not await store.own("d", "bob")
    assert await store.owner("d") == "ann"


async def test_nobody_listens(store: ResultStore) -> None:
    """That is no error."""
    assert await store.announce(KEYS.channels("e")) == 0
