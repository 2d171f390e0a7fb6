"""The script's part about prompts, on a real Redis: what counts, and what a rebuild puts back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.fleet_script import Script

_KEPT = 60_000  # milliseconds


class _Script(Script):
    """The script on a Redis in which nothing has to be rebuilt, and the lock of who rebuilds."""

    async def rebuilt(self, command: str, *arguments: Any) -> None:
        """Carry out an entry of the journal."""
        await self.client.set("rj:rebuilding", "me")
        await self(f"{command}!", "me", *arguments)

    async def taken(self, principal: str) -> bytes:
        """Have the id be a principal's; since when."""
        since = await self("prompt_taking", "flight", "id", principal, _KEPT)
        assert await self("prompt_take", "flight", "id", principal, since, _KEPT, doc("pending"))
        return bytes(since)

    async def shown(self) -> Any:
        return await self.client.get("key")


def doc(value: str) -> bytes:
    """What sets one key, and deletes what was there."""
    return msgspec.msgpack.encode([["key"], ["key", value], []])


@pytest.fixture
async def script(tmp_path: Path) -> AsyncIterator[_Script]:
    async with _Script.on_redis(tmp_path / "redis") as script:
        yield script


async def test_a_result_is_seen_once_it_is_revealed(script: _Script) -> None:
    """In its own epoch; who claimed the task before comes too late with another one."""
    await script("prompt_claim", "id", "late", "0", _KEPT)
    assert await script("prompt_claim", "id", "mine", "1", _KEPT) == [2, b"", b""]
    assert await script("prompt_stage", "id", "late", _KEPT, doc("late")) == []
    epoch, at = await script("prompt_stage", "id", "mine", _KEPT, doc("text"))
    assert await script("prompt_stage", "id", "mine", _KEPT, doc("text")) == [epoch, at]
    assert await script("prompt_reveal", "0", "id", "mine", at, _KEPT) == 0
    assert await script.shown() is None
    assert await script("prompt_reveal", epoch, "id", "mine", at, _KEPT) == 1
    assert await script.shown() == b"text"
    assert await script("prompt_stage", "id", "mine", _KEPT, doc("text")) == [b""]
    assert await script.client.zcard("rj:flights") == 0


async def test_an_id_is_one_principals(script: _Script) -> None:
    """Also while the journal does not know it yet."""
    await script("prompt_taking", "flight", "id", "user ann", _KEPT)
    assert await script("prompt_taking", "other", "id", "user bob", _KEPT) == b""
    await script.taken("user ann")
    assert await script("prompt_owner", "id") == b"user ann"


async def test_a_rebuild_puts_back_what_is_missing(script: _Script) -> None:
    """And leaves alone what came later: a prompt that waits, or another use of the id."""
    since = await script.taken("user ann")
    await script("prompt_claim", "id", "first", "0", _KEPT)
    epoch, at = await script("prompt_stage", "id", "first", _KEPT, doc("first"))
    await script("prompt_reveal", epoch, "id", "first", at, _KEPT)
    taken = ("prompt", "id", "user ann", since, _KEPT, doc("pending"))
    result = ("result", "id", "first", at, _KEPT, doc("first"))
    for entry in (taken, result):
        await script.rebuilt(*entry)
        assert await script.shown() == b"first"
    await script.taken("user ann")
    for entry in (taken, result):
        await script.rebuilt(*entry)
        assert await script.shown() == b"pending"
    await script.client.delete("key", "runnerd:prompt:id")
    await script.rebuilt(*taken)
    assert (await script.shown(), await script("prompt_owner", "id")) == (b"pending", b"user ann")
    await script.rebuilt(*result)
    assert await script.shown() == b"first"
    assert await script("prompt_stage", "id", "other", _KEPT, doc("other")) == []


async def test_what_is_old_is_not_put_back(script: _Script) -> None:
    """Results are kept for their time, from when they were there."""
    await script.rebuilt("result", "id", "first", "1000.0", _KEPT, doc("old"))
    assert await script.shown() is None
