"""Users that register themselves, as Pantry's programs do: nobody let them in, so they may nothing.

What they can take of the daemon is bounded: so many registrations a minute and a day, and so many
users that have registered and may still nothing.  When those are too many the oldest that never
asked the owner for anything makes room, once it has had the time to.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from runnerd.access.users import User
from runnerd.accounts import user_rows
from runnerd.accounts.user_rules import check_name, is_new_name
from runnerd.accounts.users import NewKey, UserStore
from runnerd.database import Connection
from runnerd.errors import Conflict, LimitReached

MOST_A_MINUTE = 30
MOST_A_DAY = 1000  # each is an entry in the audit, which keeps 100,000
MOST_WAITING = 100
_TIME_TO_ASK = 600.0  # seconds
_MINUTE, _DAY = 60.0, 86400.0
_LATER = 3600.0  # seconds until the owner may have let some in, or removed them
_NUMBERED = 90  # letters of a name, so that a number can follow

_WAITING = (
    " FROM registrations JOIN users ON users.id = registrations.user_id"
    " WHERE users.permissions = ''"
)
_MAKES_ROOM = (
    f"SELECT users.id {_WAITING} AND registrations.created < ? AND NOT EXISTS"
    " (SELECT 1 FROM approvals WHERE approvals.user_id = users.id)"
    " ORDER BY registrations.created LIMIT 1"
)


class Registrations:
    """Takes registrations."""

    def __init__(self, users: UserStore, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` says Unix time."""
        self._users = users
        self._clock = clock
        self._lately: deque[float] = deque(maxlen=MOST_A_DAY)  # when, in Unix time

    async def register(self, name: str, label: str) -> NewKey:
        """Add a user that may nothing, with one key; a name that is taken gets a number.

        Raises errors.ClientError for what cannot be a name, LimitReached.
        """
        now = self._clock()
        self._check_pace(now)
        wanted = check_name(name)

        def named(connection: Connection, user: User) -> User:
            self._make_room(connection, now)
            return _with_free_name(connection, user)

        def added(connection: Connection, user: User) -> None:
            connection.execute(
                "INSERT INTO registrations (user_id, created) VALUES (?, ?)", (user.id, now)
            )

        user = User(id="", name=wanted, permissions=frozenset())
        return await self._users.add(user, label=label, named=named, added=added)

    def _check_pace(self, now: float) -> None:
        for most, seconds, span in (
            (MOST_A_MINUTE, _MINUTE, "a minute"),
            (MOST_A_DAY, _DAY, "a day"),
        ):
            if len(self._lately) < most:
                break
            ago = now - self._lately[-most]
            if 0 <= ago < seconds:
                raise LimitReached(
                    f"{most} users have registered within {span}, which is the most"
                    " (registrations)",
                    limit="registrations",
                    retry_after=seconds - ago,
                )
        self._lately.append(now)

    def _make_room(self, connection: Connection, now: float) -> None:
        count = connection.execute(f"SELECT count(*) {_WAITING}").fetchone()[0]
        if count < MOST_WAITING:
            return
        idle = connection.execute(_MAKES_ROOM, (now - _TIME_TO_ASK,)).fetchone()
        if idle is None:
            raise LimitReached(
                f"{MOST_WAITING} users have registered and wait for the owner to let them in, which"
                " is the most (registrations)",
                limit="registrations",
                retry_after=_LATER,
            )
        user_rows.delete_user(connection, idle[0])


def _with_free_name(connection: Connection, user: User) -> User:
    """A user with a name that nobody has: its own, else that with a number."""
    found = user
    for number in itertools.count(2):
        with contextlib.suppress(Conflict):
            return is_new_name(connection, found)
        found = replace(user, name=f"{user.name[:_NUMBERED]} #{number}")
    raise AssertionError
