"""Kept responses and conversations in the database: what goes on from what, for whom, how long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runnerd.database import Database
from runnerd.errors import ClientError, ConversationNotFound, LimitReached, ResponseNotFound
from runnerd.session_settings import SessionSettings
from runnerd.sessions import kept_responses
from runnerd.sessions.conversations import Conversations
from runnerd.sessions.kept_responses import KeptResponses, Response, check_one_origin, new_id

ANN, BOB = "uid 1", "uid 2"


def item(name: str, text: str = "") -> dict[str, Any]:
    return {"id": name, "content": text}


class Kept:
    """A database with both stores, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder)
        self.settings = SessionSettings(responses_expire_after=1000, expire_after=500)
        self.now = 1.0
        self.responses = KeptResponses(self.database, lambda: self.settings, lambda: self.now)
        self.conversations = Conversations(self.database, lambda: self.settings, lambda: self.now)

    async def keep(
        self, id: str, previous: str | None = None, conversation: str | None = None, **more: Any
    ) -> bool:
        """Keep a response whose items are called after it."""
        self.now += 1
        size, owner = more.pop("size", 1), more.pop("owner", ANN)
        return await self.responses.keep(
            Response(
                id, owner, previous, conversation, [item(f"{id}?")],
                {"id": id, "output": [item(f"{id}!", "x" * size)]}, **more
            )
        )  # fmt: skip

    async def before(self, previous: str | None, conversation: str | None = None) -> list[str]:
        """The ids of the items that a request would go on from."""
        history = await self.responses.history(ANN, previous, conversation, [])
        return [each["id"] for each in history.items]

    async def known(self, *ids: str) -> list[str]:
        """Which of these responses are known."""
        found = []
        for id in ids:
            try:
                found.append((await self.responses.response(ANN, id))["id"])
            except ResponseNotFound:
                continue
        return found

    async def count(self, table: str) -> int:
        return int(
            await self.database.read(
                lambda c: c.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            )
        )


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    kept = Kept(tmp_path)
    await kept.database.open()
    yield kept
    await kept.database.close()


async def test_a_request_goes_on_from_any_response(kept: Kept) -> None:
    """Several may go on from the same one; each has what led to it."""
    await kept.keep("a")
    await kept.keep("b", "a")
    await kept.keep("c", "a")
    await kept.keep("d", "c")
    assert await kept.before("b") == ["a?", "a!", "b?", "b!"]
    assert await kept.before("d") == ["a?", "a!", "c?", "c!", "d?", "d!"]
    asked = [each["id"] for each in await kept.responses.input(ANN, "d")]
    assert asked == ["a?", "a!", "c?", "c!", "d?"]


async def test_one_that_is_forgotten_still_leads_to_others(kept: Kept) -> None:
    """It is not known any more; once none of them is, all of it is gone."""
    await kept.keep("a")
    await kept.keep("b", "a")
    await kept.responses.forget(ANN, "a")
    assert await kept.known("a", "b") == ["b"]
    with pytest.raises(ResponseNotFound):
        await kept.before("a")
    assert await kept.before("b") == ["a?", "a!", "b?", "b!"]
    await kept.responses.forget(ANN, "b")
    assert (await kept.count("responses"), await kept.count("response_items")) == (0, 0)


async def test_each_ends_with_its_time(kept: Kept) -> None:
    """What it led to goes on."""
    await kept.keep("a")
    kept.now += 600
    await kept.keep("b", "a")
    kept.now += 600
    assert await kept.known("a", "b") == ["b"]
    assert await kept.before("b") == ["a?", "a!", "b?", "b!"]
    await kept.responses.expire()
    assert await kept.count("responses") == 2
    kept.now += 600
    await kept.responses.expire()
    assert await kept.count("responses") == 0


async def test_what_belongs_to_nobody_any_more_goes(kept: Kept) -> None:
    """Responses and conversations of a user who was removed."""
    await kept.keep("a", owner="user nobody")
    await kept.keep("b")
    await kept.conversations.create("user nobody", [], {})
    await kept.responses.expire()
    assert (await kept.count("responses"), await kept.count("conversations")) == (1, 0)


async def test_there_is_a_limit_for_each_user(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was gone on from longest ago goes, whole; what is too large is not kept."""
    kept.settings = SessionSettings(response_bytes_per_user=1000)
    monkeypatch.setattr(kept_responses, "LARGEST", 800)
    assert await kept.keep("a", size=200)
    assert await kept.keep("b", size=200)
    assert await kept.keep("c", "a", size=200)
    assert await kept.keep("d", size=300)
    assert await kept.known("a", "b", "c", "d") == ["a", "c", "d"]
    assert not await kept.keep("e", size=900)
    assert not await kept.keep("f", "c", size=500)
    assert await kept.known("a", "c", "d", "e", "f") == ["a", "c", "d"]
    assert await kept.keep("g", owner=BOB, size=500)
    assert await kept.known("a", "c", "d") == ["a", "c", "d"]


async def test_items_are_found_by_their_ids(kept: Kept) -> None:
    """Of responses and of conversations, of one's own."""
    await kept.keep("a")
    await kept.conversations.create(ANN, [item("c1", "said")], {})
    found = await kept.responses.history(ANN, None, None, ["a!", "c1"])
    assert found.named == {"a!": item("a!", "x"), "c1": item("c1", "said")}
    for owner, id in ((BOB, "a!"), (BOB, "c1"), (ANN, "nothing")):
        with pytest.raises(ResponseNotFound):
            await kept.responses.history(owner, None, None, [id])
    await kept.responses.forget(ANN, "a")
    with pytest.raises(ResponseNotFound):
        await kept.responses.history(ANN, None, None, ["a!"])


async def test_a_conversation_has_what_was_asked_and_answered_in_it(kept: Kept) -> None:
    """Also of a response that is not stored; from one of them a request goes on as from others."""
    id = (await kept.conversations.create(ANN, [item("c1")], {})).id
    await kept.keep("a", conversation=id)
    await kept.keep("b", conversation=id, stored=False)
    await kept.keep("c", conversation=id)
    assert await kept.before(None, id) == ["c1", "a?", "a!", "b?", "b!", "c?", "c!"]
    assert await kept.known("a", "b", "c") == ["a", "c"]
    assert await kept.before("a") == ["c1", "a?", "a!"]
    await kept.keep("d", "a")
    assert await kept.before("d") == ["c1", "a?", "a!", "d?", "d!"]
    asked = [each["id"] for each in await kept.responses.input(ANN, "c")]
    assert asked == ["c1", "a?", "a!", "b?", "b!", "c?"]
    await kept.conversations.delete(ANN, id)
    assert await kept.before("d") == ["a?", "a!", "d?", "d!"]
    with pytest.raises(ConversationNotFound):
        await kept.keep("e", conversation=id)
    assert await kept.known("e") == []


def test_ids_cannot_be_guessed() -> None:
    """They are secrets, although they are of use to nobody else."""
    assert len({new_id("resp") for _ in range(100)}) == 100
    assert len(new_id("resp")) >= 5 + 32


def test_a_request_goes_on_from_one_thing() -> None:
    """Not from a response and a conversation."""
    check_one_origin("a", None)
    check_one_origin(None, "b")
    with pytest.raises(ClientError):
        check_one_origin("a", "b")


async def test_a_conversation_has_a_limit(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """More is refused, and what was removed makes room."""
    monkeypatch.setattr("runnerd.sessions.conversations.LARGEST", 300)
    id = (await kept.conversations.create(ANN, [item("a", "x" * 200)], {})).id
    with pytest.raises(LimitReached):
        await kept.conversations.add(ANN, id, [item("b", "x" * 200)])
    await kept.conversations.delete_item(ANN, id, "a")
    await kept.conversations.add(ANN, id, [item("b", "x" * 200)])
    assert [each["id"] for each in await kept.conversations.items(ANN, id)] == ["b"]
