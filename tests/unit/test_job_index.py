"""Who finds that Redis is not whole, and what comes of a rebuild that fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import pytest

from runnerd.errors import DatabaseFailure
from runnerd.jobs.fleet.job_index import JobIndex
from runnerd.jobs.fleet.rebuild_access import RebuildAccess
from runnerd.jobs.fleet.redis_client import open_redis
from tests.support.brokers import Redis, running_redis

Rebuild = Callable[[RebuildAccess], Awaitable[None]]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with running_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
async def rebuilds(redis: Redis) -> list[Rebuild]:
    """What the next rebuilds of an emptied Redis do; after those each ends well."""
    client = open_redis(redis.url)
    await client.flushall()
    await client.aclose()
    return []


def _index(redis: Redis, rebuilds: list[Rebuild]) -> JobIndex:
    async def rebuild(access: RebuildAccess) -> None:
        if rebuilds:
            await rebuilds.pop(0)(access)
        else:
            await access.whole(1, 0)

    return JobIndex(redis.url, rebuild)


async def test_no_journal(redis: Redis, rebuilds: list[Rebuild]) -> None:
    """Whoever asks is told so; the next one rebuilds at once."""

    async def fail(access: RebuildAccess) -> None:
        raise DatabaseFailure("no broker")

    rebuilds.append(fail)
    index = _index(redis, rebuilds)
    with pytest.raises(DatabaseFailure, match="no broker"):
        await index.call("whole")
    assert await index.call("whole") == b"1"
    await index.close()


async def test_emptied_in_the_midst_of_a_rebuild(redis: Redis, rebuilds: list[Rebuild]) -> None:
    """It begins anew."""

    async def emptied(access: RebuildAccess) -> None:
        client = open_redis(redis.url)
        await client.flushall()
        await client.aclose()
        await access.whole(1, 0)

    rebuilds.append(emptied)
    index = _index(redis, rebuilds)
    assert await index.call("whole") == b"1"
    assert rebuilds == []
    await index.close()
