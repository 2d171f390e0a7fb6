"""OpenAI's conversations in the database, and what requests may say of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from runnerd.api.openai.conversations import _items, _metadata
from runnerd.database import Database
from runnerd.errors import ClientError, ConversationNotFound
from runnerd.session_settings import SessionSettings
from runnerd.sessions.conversations import Conversations

ANN, BOB = "uid 1", "uid 2"


class Kept(Conversations):
    """Conversations with a clock."""

    def __init__(self, database: Database) -> None:
        self.now = 1.0
        settings = SessionSettings(expire_after=100, per_user=2)
        super().__init__(database, lambda: settings, lambda: self.now)


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    database = Database(tmp_path)
    await database.open()
    yield Kept(database)
    await database.close()


async def test_anothers_are_not_there(kept: Kept) -> None:
    """For everything that can be done with one."""
    id = (await kept.create(ANN, [{"id": "a"}], {"x": "y"})).id
    asks: list[Callable[[], Awaitable[object]]] = [
        lambda: kept.get(BOB, id),
        lambda: kept.update(BOB, id, {}),
        lambda: kept.delete(BOB, id),
        lambda: kept.add(BOB, id, []),
        lambda: kept.items(BOB, id),
        lambda: kept.delete_item(BOB, id, "a"),
        lambda: kept.delete_item(ANN, id, "b"),
        lambda: kept.get(ANN, "conv_nothing"),
    ]
    for ask in asks:
        with pytest.raises(ConversationNotFound):
            await ask()
    assert (await kept.get(ANN, id)).metadata == {"x": "y"}
    assert await kept.items(ANN, id) == [{"id": "a"}]


async def test_unused_ones_end_and_too_many_make_room(kept: Kept) -> None:
    """Being added to counts as use."""
    first = (await kept.create(ANN, [], {})).id
    kept.now += 60
    await kept.add(ANN, first, [{"id": "a"}])
    kept.now += 60
    second = (await kept.create(ANN, [], {})).id
    await kept.get(ANN, first)
    kept.now += 1
    third = (await kept.create(ANN, [], {})).id
    with pytest.raises(ConversationNotFound):
        await kept.get(ANN, first)
    kept.now += 99.5
    with pytest.raises(ConversationNotFound):
        await kept.get(ANN, second)
    assert (await kept.get(ANN, third)).id == third


@pytest.mark.parametrize(
    "given", [None, [], "x", [3], [{"type": "nothing"}], [{"role": "user", "content": "x"}] * 21]
)
def test_what_no_items_can_be(given: object) -> None:
    """Is refused as it would be in a request."""
    with pytest.raises(ClientError):
        _items(given)


@pytest.mark.parametrize(
    "metadata",
    [3, [], {"a": 1}, {"a" * 65: "x"}, {"a": "x" * 513}, {str(n): "x" for n in range(17)}],
)
def test_what_no_metadata_can_be(metadata: Any) -> None:
    """Is refused; none at all is empty."""
    with pytest.raises(ClientError):
        _metadata({"metadata": metadata})
    assert _metadata({"metadata": None}) == _metadata({}) == {}
