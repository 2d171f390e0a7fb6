"""Redis and journal of a site, of which neither is there."""

from __future__ import annotations

import pytest

from runnerd.errors import DatabaseFailure
from runnerd.jobs.fleet.journaled_redis import JournaledRedis
from tests.support.ports import reserved_port


async def test_nobody_is_there() -> None:
    """It opens nothing by itself, says so when it is asked, and closes what there is."""
    with reserved_port() as port:
        records = JournaledRedis(f"amqp://127.0.0.1:{port}/", f"redis://127.0.0.1:{port}/0")
        with pytest.raises(DatabaseFailure, match="Redis cannot be used"):
            await records.index.call("whole")
        await records.close()
