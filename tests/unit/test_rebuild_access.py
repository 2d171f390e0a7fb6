"""From where a journal has to be read, and who may carry it out."""

from __future__ import annotations

from typing import Any, cast

import pytest
from redis.asyncio import Redis

from runnerd.jobs.fleet.rebuild_access import RebuildAccess


class _Redis:
    """What a Redis holds, and what it was asked to do."""

    def __init__(self, flights: list[float], mark: bytes | None, epoch: bytes | None) -> None:
        self._found = [[(b"flight", score) for score in flights], mark, epoch]
        self.calls: list[list[Any]] = []

    def register_script(self, script: str) -> Any:
        async def call(args: list[Any]) -> None:
            self.calls.append(args)

        return call

    def pipeline(self, *, transaction: bool) -> _Redis:
        return self

    async def __aenter__(self) -> _Redis:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    def zrange(self, *_: object, **__: object) -> None:
        return None

    def get(self, key: str) -> None:
        return None

    async def execute(self) -> list[Any]:
        return self._found


def _access(redis: _Redis) -> RebuildAccess:
    return RebuildAccess(cast("Redis", redis), "script", "me", "process")


@pytest.mark.parametrize(
    ("flights", "mark", "epoch", "begin"),
    [
        ([], None, None, (None, 0)),
        ([], b"40", b"3 other", (40, 3)),
        ([12.0], b"40", b"3 other", (12, 3)),
        ([-1.0], b"40", b"3 other", (None, 3)),
        ([], None, b"c0ffee", (None, 0)),
    ],
    ids=[
        "emptied",
        "all landed",
        "one under way since an earlier mark",
        "one since before all",
        "an older form",
    ],
)
async def test_begin(
    flights: list[float], mark: bytes | None, epoch: bytes | None, begin: tuple[int | None, int]
) -> None:
    """All before the lowest mark of a change that is under way was carried out."""
    assert await _access(_Redis(flights[:1], mark, epoch)).begin() == begin


async def test_changes_name_the_lock() -> None:
    """Each change and the end of it say whose lock it is."""
    redis = _Redis([], None, None)
    access = _access(redis)
    await access.call("insert", "id")
    await access.whole(4, 17)
    assert redis.calls == [
        ["insert!", 0, "me", "id"],
        ["whole!", 0, "me", 4, "process", 17],
    ]
