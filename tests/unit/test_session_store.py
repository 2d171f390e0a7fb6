"""Sessions in the database: what is kept, for whom, and until when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from runnerd.database import Database
from runnerd.errors import Conflict, LimitReached, SessionNotFound
from runnerd.session_settings import SessionSettings
from runnerd.sessions.session import Session, SessionKind, Turn
from runnerd.sessions.session_store import SessionStore, Whose

ANN, BOB, OWNER = Whose("ann"), Whose("bob"), Whose("uid 0", True)
HOUR, DAY = 3600.0, 24 * 3600.0


class Kept:
    """A database, settings and a clock."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder)
        self.settings = SessionSettings(expire_after=10 * DAY, warn_before=DAY, per_user=3)
        self.now = 1000.0
        self.store = SessionStore(self.database, lambda: self.settings, lambda: self.now)
        self._number = 0

    async def add(self, whose: Whose = ANN, name: str = "") -> Session:
        self._number += 1
        self.now += 1
        session = Session(f"s{self._number}", whose.id, "sha256:0", "a", name)
        return (await self.store.add(session)).session

    async def ids(self, whose: Whose = ANN) -> list[str]:
        return [listed.session.id for listed in await self.store.listed(whose, 100)]

    async def say(self, session: Session, text: str = "Hi") -> list[str]:
        self.now += 1
        number = (await self.store.get(OWNER, session.id)).turns + 1
        kept = await self.store.add_turn(Turn(session.id, number, text, "Hello", self.now))
        return kept.removed


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    kept = Kept(tmp_path)
    await kept.database.open()
    yield kept
    await kept.database.close()


async def test_all_of_it_is_kept(kept: Kept) -> None:
    """Sessions and turns are read as they were written."""
    session = Session(
        "s", "ann", "sha256:0", "a", "talk", SessionKind.TEXT, "Be brief.", {"seed": 1}, {"x": [2]}
    )
    added = (await kept.store.add(session)).session
    assert added == replace(
        session, created=1000.0, used=1000.0, expires=1000.0 + 10 * DAY, bytes=13
    )
    turn = Turn("s", 1, "Hi", "Hé", 5.0, reasoning="hm", finish_reason="stop", prompt_tokens=3)
    after = (await kept.store.add_turn(turn)).session
    assert (after.turns, after.bytes) == (1, 13 + 2 + 3 + 2)
    history = await kept.store.history(ANN, "talk")
    assert (history.session, history.turns) == (after, [turn])


async def test_a_turn_has_its_number(kept: Kept) -> None:
    """None is there twice, and none without its session."""
    session = await kept.add()
    turn = Turn(session.id, 1, "Hi", "Hello", 0.0)
    await kept.store.add_turn(turn)
    for number in (1, 3):
        with pytest.raises(Conflict):
            await kept.store.add_turn(replace(turn, number=number))
    await kept.store.delete(ANN, session.id)
    with pytest.raises(SessionNotFound):
        await kept.store.add_turn(replace(turn, number=2))
    count = await kept.database.read(lambda c: c.execute("SELECT count(*) FROM turns").fetchone())
    assert count == (0,)


async def test_anothers_are_not_there(kept: Kept) -> None:
    """Names are looked for among one's own, also by who sees everything."""
    anns, bobs = await kept.add(ANN, name="talk"), await kept.add(BOB, name="talk")
    assert (await kept.store.get(ANN, "talk"), await kept.store.get(BOB, "talk")) == (anns, bobs)
    for id in (bobs.id, "nothing"):
        with pytest.raises(SessionNotFound):
            await kept.store.get(ANN, id)
    with pytest.raises(SessionNotFound):
        await kept.store.get(OWNER, "talk")
    assert await kept.store.get(OWNER, bobs.id) == bobs
    assert (await kept.ids(ANN), await kept.ids(OWNER)) == ([anns.id], [bobs.id, anns.id])
    with pytest.raises(Conflict):
        await kept.add(ANN, name="talk")


async def test_each_ends_when_it_has_said_so(kept: Kept) -> None:
    """Being used puts it off, shorter settings never bring it on, and it is told beforehand."""
    session = await kept.add(name="talk")
    kept.now += 8 * DAY
    await kept.say(session)
    kept.settings = SessionSettings(expire_after=DAY, warn_before=DAY)
    await kept.say(session)
    kept.now += 9 * DAY + HOUR
    [listed] = await kept.store.listed(ANN, 10)
    assert "removed in 23 hours" in listed.warnings[0]
    assert await kept.store.expire() == []
    kept.now += DAY
    assert await kept.ids() == []
    with pytest.raises(SessionNotFound):
        await kept.store.get(ANN, "talk")
    again = await kept.add(name="talk")
    assert await kept.ids() == [again.id]


async def test_what_has_ended_is_removed(kept: Kept) -> None:
    """And what belongs to a user who is no more."""
    session = await kept.add()
    kept.now += 11 * DAY
    gone = await kept.add(Whose("user nobody"))
    stays = await kept.add(Whose("uid 7"))
    assert {*await kept.store.expire()} == {session.id, gone.id}
    assert await kept.ids(OWNER) == [stays.id]


async def test_too_many_make_room_for_each_other(kept: Kept) -> None:
    """The one that was used longest ago goes, which it has said before; others' stay."""
    bobs = await kept.add(BOB)
    first, second, third = [await kept.add() for _ in range(3)]
    await kept.say(first)
    warned = [
        listed.session.id
        for listed in await kept.store.listed(ANN, 10)
        if "next" in "".join(listed.warnings)
    ]
    assert warned == [second.id]
    fourth = await kept.add()
    assert await kept.ids() == [fourth.id, first.id, third.id]
    assert await kept.ids(BOB) == [bobs.id]


async def test_too_much_text_makes_room_and_one_session_has_a_limit(kept: Kept) -> None:
    """What a turn pushes out is told; a session alone is refused before it is asked."""
    kept.settings = SessionSettings(bytes_per_user=1000)
    first, second = await kept.add(), await kept.add()
    assert await kept.say(first, "x" * 500) == []
    assert await kept.say(second, "x" * 600) == [first.id]
    found = await kept.store.get(ANN, second.id)
    kept.store.check_size(found, "x" * 100)
    with pytest.raises(LimitReached):
        kept.store.check_size(found, "x" * 500)
