"""Users and keys: kept in the database, and published as a directory for who authenticates.

The directory follows the database: it is read from it after each change, in the same order in
which changes are carried out, and what was changed is told to whoever subscribed.  A key itself
exists once, in what `add`, `add_key` and `rotate` return.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import uuid4

from runnerd.access.directory import Directory
from runnerd.access.users import Key, User, key_digest
from runnerd.accounts import user_rows as rows
from runnerd.accounts.user_rules import check_name, is_new_name
from runnerd.database import Connection, Database, Duplicate
from runnerd.errors import KeyNotFound, UserNotFound

T = TypeVar("T")

_NO_CHANGES: Mapping[str, Any] = MappingProxyType({})
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made, with the one copy of its secret."""

    user: User
    key: Key
    secret: str

    def __repr__(self) -> str:
        return f"NewKey({self.key.id})"


@dataclass(frozen=True, slots=True)
class Change:
    """What is different in a directory: ids of users and keys that were changed or are gone."""

    directory: Directory
    users: frozenset[str]
    keys: frozenset[str]


class UserStore:
    """Owns users and keys.  `directory` is what they are now.

    Methods that change something return once it is on the disk and in force, and raise
    errors.DatabaseFailure, StorageFailure or InsufficientStorage where nothing has changed.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` says Unix time."""
        self._database = database
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: list[Callable[[Change], None]] = []
        self.directory = Directory.EMPTY
        database.when_opened(self._database_opened)

    async def open(self) -> None:
        """Take over what the database has; where it cannot be used, as much as can be read of it.

        To be called once it was opened.
        """
        self._loop = asyncio.get_running_loop()
        problem = self._database.problem
        if problem is None:
            self._publish(await self._database.read(rows.load))
        elif (found := await self._database.salvage(rows.TABLES, rows.load)) is not None:
            self._publish(found)
        else:
            self.directory = Directory(
                (), (), unreadable=f"nobody can tell who has which key: {problem.message}"
            )

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Call `listener`, on the event loop, after each change."""
        self._listeners.append(listener)

    # users

    async def add(
        self,
        user: User,
        *,
        label: str = "",
        named: Callable[[Connection, User], User] = is_new_name,
        added: Callable[[Connection, User], None] | None = None,
    ) -> NewKey:
        """Add a user, with an id of its own, and one key.  Raises errors.Conflict, ClientError.

        `named` gives the user its name in the same transaction, and `added` is called in it.
        """
        user = replace(user, id=str(uuid4()), name=check_name(user.name), created=self._clock())
        made = self._new_key(user, label, None)

        def work(connection: Connection) -> User:
            found = named(connection, user)
            rows.insert_user(connection, found)
            rows.insert_key(connection, made.key)
            if added is not None:
                added(connection, found)
            return found

        return replace(made, user=await self.change(work))

    async def edit(
        self, name: str, /, *, limits: Mapping[str, Any] = _NO_CHANGES, **changes: Any
    ) -> User:
        """Change fields of a user, given by id or name, and some of the `limits`.

        What is not said stays as it is when the change is made, whatever others change meanwhile.
        Raises errors.UserNotFound, Conflict, ClientError.
        """
        id = self.user(name).id
        if "name" in changes:
            changes["name"] = check_name(changes["name"])

        def work(connection: Connection) -> User:
            user = rows.find_user(connection, id)
            if user is None:
                raise UserNotFound(f"there is no user {name!r} any more")
            changed = replace(user, limits=replace(user.limits, **limits), **changes)
            is_new_name(connection, changed)
            rows.update_user(connection, changed)
            return changed

        return await self.change(work)

    async def remove(self, name: str) -> User:
        """Remove a user and all keys.  Raises errors.UserNotFound."""
        user = self.user(name)
        await self.change(lambda connection: rows.delete_user(connection, user.id))
        return user

    def user(self, name: str) -> User:
        """The user with this id or name.  Raises errors.UserNotFound."""
        user = self.directory.find(name)
        if user is None:
            raise UserNotFound(f"there is no user {name[:100]!r}; `runnerd user list` shows all")
        return user

    # keys

    async def add_key(self, name: str, *, label: str = "", expires: float | None = None) -> NewKey:
        """Give a user one more key.  Raises errors.UserNotFound."""
        made = self._new_key(self.user(name), label, expires)

        def work(connection: Connection) -> None:
            try:
                rows.insert_key(connection, made.key)
            except Duplicate as error:
                raise UserNotFound(f"there is no user {name!r} any more") from error

        await self.change(work)
        return made

    async def remove_key(self, id: str) -> Key:
        """Revoke a key.  Raises errors.KeyNotFound."""
        key = self.key(id)
        await self.change(lambda connection: rows.delete_key(connection, key.id))
        return key

    async def rotate(self, id: str) -> NewKey:
        """Replace a key by a new one for the same purpose; the old one counts no more.

        Raises errors.KeyNotFound.
        """
        old = self.key(id)
        made = self._new_key(self.user(old.user_id), old.label, old.expires)

        def work(connection: Connection) -> None:
            if not rows.delete_key(connection, old.id):
                raise _no_key(id)
            rows.insert_key(connection, made.key)

        await self.change(work)
        return made

    def key(self, id: str) -> Key:
        """The key with this id.  Raises errors.KeyNotFound."""
        if (key := self.directory.key(id)) is None:
            raise _no_key(id)
        return key

    def _new_key(self, user: User, label: str, expires: float | None) -> NewKey:
        secret = secrets.token_urlsafe(_KEY_BYTES)
        id = secrets.token_hex(6)
        key = Key(id, user.id, key_digest(secret), self._clock(), expires, label)
        return NewKey(user, key, secret)

    # changes

    async def change(
        self, work: Callable[[Connection], T], *, then: Callable[[T], None] | None = None
    ) -> T:
        """Carry out a change of users or keys and publish it, however often the caller is
        cancelled; its result.  `then` is called on the event loop with it once it is in force.
        """

        def then_load(connection: Connection) -> tuple[T, rows.Rows]:
            return work(connection), rows.load(connection)

        def published(made: tuple[T, rows.Rows]) -> None:
            self._publish(made[1])
            if then is not None:
                then(made[0])

        result, _ = await self._database.write(then_load, then=published)
        return result

    def _database_opened(self, connection: Connection) -> None:
        """Called in the database's thread: its content may be another one."""
        found = rows.load(connection)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._publish, found)

    def _publish(self, found: rows.Rows) -> None:
        old = self.directory
        new = Directory(found.users, found.keys, version=old.version + 1)
        self.directory = new
        users = {user.id for user in old.users() if new.user(user.id) != user}
        keys = {key.id for key in old.keys() if new.key(key.id) != key}
        change = Change(new, frozenset(users), frozenset(keys))
        for listener in self._listeners:
            listener(change)


def _no_key(id: str) -> KeyNotFound:
    return KeyNotFound(f"there is no key {id[:100]!r}; `runnerd key list` shows all")
