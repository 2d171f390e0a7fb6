"""Users and keys in the database, and the directory that follows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from runnerd.access.permissions import Permission
from runnerd.access.users import User, UserLimits
from runnerd.accounts.users import Change, UserStore
from runnerd.database import Database
from runnerd.errors import ClientError, Conflict, KeyNotFound, Unauthorized, UserNotFound


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path)
    yield database
    await database.close()


@pytest.fixture
async def users(database: Database) -> UserStore:
    users = UserStore(database)
    await database.open()
    await users.open()
    return users


async def test_a_user_and_a_key(users: UserStore) -> None:
    """The key that is returned is the user's, at once; what is printed of it has no secret."""
    made = await users.add(User("", "Ann"), label="laptop")
    principal = users.directory.authenticate(made.secret, 1.0)
    assert principal.user_id == made.user.id
    assert principal.key == made.key.id
    assert made.secret not in repr(made)
    assert len(made.secret) == 43


async def test_what_was_said_stays(users: UserStore, database: Database, tmp_path: Path) -> None:
    """Everything about a user is there after a restart."""
    limits = UserLimits(60, 2, 1000, 4096, -3)
    user = User("", "ann", frozenset(Permission), ("ai/*", "hf.co/*"), limits, 5e9, True)
    made = await users.add(user)
    key = await users.add_key("ANN", label="two", expires=6e9)
    await database.close()
    again = Database(tmp_path)
    store = UserStore(again)
    await again.open()
    await store.open()
    assert store.directory.users() == [made.user]
    assert store.directory.keys_of(made.user.id) == [made.key, key.key]
    await again.close()


@pytest.mark.parametrize(
    "name", ["", " ", "a" * 101, "a\nb", "a/b", "6c9d0d9e-0000-4000-8000-000000000001", "\u202e",
     "uid 0", "UID 1000", "127.0.0.1", "::1"],
)  # fmt: skip
async def test_names_that_cannot_be(users: UserStore, name: str) -> None:
    """Told to whoever asks, and nobody is added."""
    with pytest.raises(ClientError):
        await users.add(User("", name))
    assert users.directory.users() == []


async def test_names_are_taken_once(users: UserStore) -> None:
    """In any case, also for one that is renamed."""
    await users.add(User("", "Stra\u00dfe"))
    with pytest.raises(Conflict):
        await users.add(User("", "STRASSE"))
    other = (await users.add(User("", "bob"))).user
    with pytest.raises(Conflict):
        await users.edit(other.id, name="strasse")
    assert (await users.edit("bob", name="Bob")).name == "Bob"


async def test_changes_at_once_are_all_made(users: UserStore) -> None:
    """None of them takes back what another one has changed."""
    made = await users.add(User("", "ann", limits=UserLimits(60)))
    await asyncio.gather(
        users.edit("ann", disabled=True),
        users.edit("ann", name="Ann"),
        users.edit("ann", limits={"context": 100}),
        users.edit("ann", limits={"requests_per_minute": None, "priority": 2}),
    )
    limits = UserLimits(context=100, priority=2)
    expected = replace(made.user, name="Ann", disabled=True, limits=limits)
    assert users.directory.users() == [expected]


async def test_changes_are_told(users: UserStore) -> None:
    """Who subscribes hears which users and keys are not what they were."""
    told: list[Change] = []
    users.subscribe(told.append)
    made = await users.add(User("", "ann"))
    await users.edit("ann", disabled=True)
    with pytest.raises(Unauthorized):
        users.directory.authenticate(made.secret, 1.0)
    await users.edit("ann", disabled=False)
    new = await users.rotate(made.key.id)
    with pytest.raises(Unauthorized):
        users.directory.authenticate(made.secret, 1.0)
    assert users.directory.authenticate(new.secret, 1.0).user_id == made.user.id
    await users.remove_key(new.key.id)
    last = await users.add_key("ann")
    await users.remove("ann")
    assert users.directory.users() == []
    id, keys = {made.user.id}, [made.key.id, new.key.id, last.key.id]
    assert [(set(change.users), set(change.keys)) for change in told] == [
        (set(), set()),
        (id, set()),
        (id, set()),
        (set(), {keys[0]}),
        (set(), {keys[1]}),
        (set(), set()),
        (id, {keys[2]}),
    ]
    assert [change.directory.version for change in told] == sorted(
        {change.directory.version for change in told}
    )
    assert told[-1].directory is users.directory


async def test_what_is_not_there(users: UserStore) -> None:
    """Unknown users and keys, and those that are gone."""
    for asking in (users.edit("ann", disabled=True), users.remove("ann"), users.add_key("ann")):
        with pytest.raises(UserNotFound):
            await asking
    for about_a_key in (users.remove_key("0"), users.rotate("0")):
        with pytest.raises(KeyNotFound):
            await about_a_key


async def test_damage_elsewhere_keeps_nobody_out(users: UserStore, database: Database) -> None:
    """Users are read of a file whose other tables are damaged; they can be changed no more."""
    made = await users.add(User("", "ann"))
    [page] = await database.read(
        lambda c: (
            [row[0] for row in c.execute("SELECT rootpage FROM sqlite_schema")][-1:]
            and [c.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'audit'").fetchone()[0]]
        )
    )
    await database.close()
    content = bytearray(database.path.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    database.path.write_bytes(content)
    again = Database(database.path.parent)
    store = UserStore(again)
    await again.open()
    await store.open()
    assert again.problem is not None
    assert store.directory.authenticate(made.secret, 1.0).user_id == made.user.id
    with pytest.raises(type(again.problem)):
        await store.remove("ann")
    assert store.directory.users() == [made.user]
    await again.close()


async def test_a_restored_backup_counts_at_once(users: UserStore, database: Database) -> None:
    """The directory is the restored one as soon as it is restored."""
    made = await users.add(User("", "ann"))
    async with database.copy() as copy:
        kept = database.new_copy_path()
        kept.write_bytes(copy.read_bytes())
    await users.remove("ann")
    await database.restore(kept)
    assert users.directory.authenticate(made.secret, 1.0).user_id == made.user.id
