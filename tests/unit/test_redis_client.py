"""What is asked of Redis ends when whoever asks is cancelled, and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from runnerd import tasks
from runnerd.jobs.fleet import redis_client
from runnerd.jobs.fleet.redis_client import GONE, open_redis
from tests.support.brokers import Redis, running_redis

_MOMENTS = 60  # turns of the event loop, in which some calls come and go


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with running_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.mark.parametrize("together", [False, True])
async def test_cancelled_in_any_moment(redis: Redis, together: bool) -> None:
    """A loop that asks for ever ends, whatever the library does just then."""
    client = open_redis(redis.url)
    await client.ping()

    async def ask_for_ever() -> None:
        while True:
            if together:
                async with client.pipeline() as pipe:
                    pipe.get("a")
                    await pipe.execute()
            else:
                await client.get("a")

    for moment in range(_MOMENTS):
        task = tasks.spawn(ask_for_ever(), name="asks", quiet=True)
        for _ in range(moment):
            await asyncio.sleep(0)
        task.cancel()
        _, going_on = await asyncio.wait([task], timeout=10)
        assert not going_on, f"cancelled after {moment} turns it goes on"
    await client.aclose()


async def test_many_at_once(redis: Redis) -> None:
    """More calls than a client has connections wait for one; none is refused."""
    client = open_redis(redis.url)
    assert await asyncio.gather(*(client.get("a") for _ in range(500))) == [None] * 500
    await client.aclose()


async def test_a_redis_that_hangs(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as gone, for one command as for several; later it is there again."""
    client = open_redis(redis.url)
    await client.ping()
    pipe = client.pipeline()
    pipe.get("a")
    monkeypatch.setattr(redis_client, "COMMAND_SECONDS", 0.05)
    redis.pause()
    try:
        with pytest.raises(redis_client.GONE):
            await client.get("a")
        with pytest.raises(redis_client.GONE):
            await pipe.execute()
    finally:
        redis.resume()
    monkeypatch.undo()
    assert await client.get("a") is None
    await client.aclose()


@pytest.mark.parametrize(
    "said", [b"+" + b"x" * 2**17, b"\0\xff garbage\r\n", b"$x\r\n", b"*1\r\n*x\r\n"]
)
@pytest.mark.parametrize("together", [False, True])
async def test_who_is_no_redis_counts_as_gone(said: bytes, *, together: bool) -> None:
    """Whatever it answers: whoever calls waits for a better one, and does not end."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    redis = open_redis(f"redis://127.0.0.1:{port}")
    try:
        async with redis.pipeline() as pipe:
            pipe.get("a")
            with pytest.raises(GONE):
                await (pipe.execute() if together else redis.get("a"))
    finally:
        await redis.aclose()
        server.close()
