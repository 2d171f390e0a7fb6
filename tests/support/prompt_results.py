"""A store of ProtoLLM's results on a real Redis, with a journal that is a list."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from runnerd.jobs.fleet.job_index import EPOCH
from runnerd.jobs.fleet.journal import Entry, Journal
from runnerd.jobs.fleet.journaled_redis import JournaledRedis
from runnerd.jobs.fleet.protollm.result_keys import ResultKeys
from runnerd.jobs.fleet.redis_client import open_redis, run_id
from runnerd.jobs.fleet.result_store import ResultStore


class ListedJournal:
    """What was appended; `failure` is raised instead, if there is one."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.failure: Exception | None = None

    async def append(self, entry: Entry) -> None:
        if self.failure is not None:
            raise self.failure
        self.entries.append(entry)


@asynccontextmanager
async def open_store(url: str, journal: ListedJournal) -> AsyncIterator[ResultStore]:
    """A store for the length of a with block, in which nothing has to be rebuilt."""
    client = open_redis(url)
    await client.set(EPOCH, f"1 {await run_id(client)}")
    await client.aclose()
    records = JournaledRedis("amqp://nobody.invalid/", url)
    records.journal = cast("Journal", journal)
    store = ResultStore(records, ResultKeys(), kept=60)
    yield store
    await store.close()
    await records.close()
