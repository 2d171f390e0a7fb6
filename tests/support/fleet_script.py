"""The fleet's script on a real Redis in which nothing has to be rebuilt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from redis.asyncio import Redis as Client

from runnerd.jobs.fleet.job_script import SCRIPT
from tests.support.brokers import running_redis


class Script:
    """Commands of the script; a test adds those that it needs together."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._script = client.register_script(SCRIPT)

    @classmethod
    @asynccontextmanager
    async def on_redis(cls, folder: Path) -> AsyncIterator[Self]:
        """The script on a Redis of its own."""
        with running_redis(folder) as server:
            client = Client.from_url(server.url)
            await client.set("rj:epoch", "1 process")
            yield cls(client)
            await client.aclose()

    async def __call__(self, command: str, *arguments: Any) -> Any:
        return await self._script(args=[command, 0, *arguments])
