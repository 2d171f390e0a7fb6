"""The script on a real Redis: what is asked twice is done once, and what is stale is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet_script import Script


class _Script(Script):
    """The script on a Redis in which the jobs are whole."""

    async def claimed(self) -> bytes:
        """Submit a job and claim it; the token."""
        states = await self("check", "flight", 10, 1000, 1000, "id", "ann", 3)
        row = ["id", "ann", "model", 0, "", "", states[-1], "doc"]
        assert await self("insert", "flight", *row) == 1
        id, token = await self("claim", "worker", 60, 1, "all")
        assert (id, isinstance(token, bytes)) == (b"id", True)
        return bytes(token)

    async def state(self) -> Any:
        return await self.client.hget("rj:j:id", "state")


@pytest.fixture
async def script(tmp_path: Path) -> AsyncIterator[_Script]:
    async with _Script.on_redis(tmp_path / "redis") as script:
        yield script


async def test_output_is_added_once(script: _Script) -> None:
    """A caller that lost its connection asks again; one that missed something is refused."""
    token = await script.claimed()
    for _ in range(2):
        assert await script("append", "id", token, 0, 0, "ab", "first") == 1
    assert await script("append", "id", token, 1, 0, "c") == 0
    assert await script("append", "id", token, 2, 0, "c") == 0
    for _ in range(2):
        assert await script("complete", "id", token, 2, 1, "c", "second") == 1
    assert await script.client.get("rj:j:id:o") == b"abc"
    assert await script.client.lrange("rj:j:id:r", 0, -1) == [b"first", b"second"]


async def test_an_end_is_seen_once_it_is_revealed(script: _Script) -> None:
    """Another epoch's reveals nothing, and nothing else counts meanwhile."""
    token = await script.claimed()
    assert await script("complete", "id", token, 0, 0, "text") == 1
    assert await script("cancel", "id", "cancelled") == [b"ending", b""]
    assert await script("fail", "id", b"7", "", "failed", "late") == 0
    assert await script("reveal", "0", "id", token) == 0
    assert await script.state() == b"running"
    assert await script("reveal", "1", "id", token) == 1
    assert await script.state() == b"completed"
    assert await script.client.zcard("rj:flights") == 0


async def test_a_rebuild_needs_the_lock(script: _Script) -> None:
    """Whoever hung and comes back late changes nothing."""
    await script.client.set("rj:rebuilding", "other")
    with pytest.raises(Exception, match="somebody else rebuilds"):
        await script("delete!", "me", "id", "1.0")
