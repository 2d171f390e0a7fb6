"""Users' logins elsewhere: kept in the database, and in memory for who pulls and pushes.

They are in the database as they were given, not encrypted: whoever can read it can read the key to
it as well.  Its file is the daemon's user's alone, and what was given is never shown again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from runnerd.access.logins import MOST_LOGINS, Login
from runnerd.accounts.users import Change, UserStore
from runnerd.database import Connection, Database, Duplicate
from runnerd.errors import ClientError, NotFound, UserNotFound

_COLUMNS = "user_id, host, username, secret, created"


class LoginStore:
    """Owns the logins of all users.

    Methods that change something return once it is on the disk and in force, and raise
    errors.DatabaseFailure, StorageFailure or InsufficientStorage where nothing has changed.
    """

    def __init__(self, database: Database, users: UserStore) -> None:
        self._database = database
        self._loop: asyncio.AbstractEventLoop | None = None
        self._logins: dict[tuple[str, str], Login] = {}
        database.when_opened(self._database_opened)
        users.subscribe(self._users_changed)

    async def open(self) -> None:
        """Take over what the database has; nothing where it cannot be used.

        To be called once it was opened.
        """
        self._loop = asyncio.get_running_loop()
        if self._database.problem is None:
            self._adopt(await self._database.read(_load))

    def find(self, user_id: str, host: str) -> Login | None:
        """A user's login at a host[:port]."""
        return self._logins.get((user_id, host))

    def of(self, user_id: str) -> list[Login]:
        """A user's logins, by host."""
        found = (login for login in self._logins.values() if login.user_id == user_id)
        return sorted(found, key=lambda login: login.host)

    async def add(self, login: Login) -> None:
        """Keep a login, in the place of the one at the same host.

        Raises errors.ClientError where a user has too many, UserNotFound.
        """

        def work(connection: Connection) -> Login:
            _check_room(connection, login)
            try:
                connection.execute(
                    f"INSERT OR REPLACE INTO logins ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
                    (login.user_id, login.host, login.username, login.secret, login.created),
                )
            except Duplicate as error:
                raise UserNotFound("there is no such user any more") from error
            return login

        await self._database.write(work, then=self._added)

    async def remove(self, user_id: str, host: str) -> None:
        """Forget a login.  Raises errors.NotFound."""

        def work(connection: Connection) -> tuple[str, str]:
            done = connection.execute(
                "DELETE FROM logins WHERE user_id = ? AND host = ?", (user_id, host)
            )
            if not done.rowcount:
                raise NotFound(f"you are not logged in at {host[:100]!r}")
            return user_id, host

        await self._database.write(work, then=self._removed)

    def _added(self, login: Login) -> None:
        self._logins[login.user_id, login.host] = login

    def _removed(self, name: tuple[str, str]) -> None:
        self._logins.pop(name, None)

    def _database_opened(self, connection: Connection) -> None:
        """Called in the database's thread: its content may be another one."""
        found = _load(connection)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._adopt, found)

    def _adopt(self, found: Iterable[Login]) -> None:
        self._logins = {(login.user_id, login.host): login for login in found}

    def _users_changed(self, change: Change) -> None:
        """A user's logins go with the user, in the database by themselves."""
        gone = {id for id in change.users if change.directory.user(id) is None}
        if gone:
            self._adopt([each for each in self._logins.values() if each.user_id not in gone])


def _check_room(connection: Connection, login: Login) -> None:
    others = connection.execute(
        "SELECT count(*) FROM logins WHERE user_id = ? AND host != ?", (login.user_id, login.host)
    )
    if int(others.fetchone()[0]) >= MOST_LOGINS:
        raise ClientError(f"you are logged in at {MOST_LOGINS} hosts, which is the most")


def _load(connection: Connection) -> list[Login]:
    found = connection.execute(f"SELECT {_COLUMNS} FROM logins")
    return [Login(*row) for row in found]
