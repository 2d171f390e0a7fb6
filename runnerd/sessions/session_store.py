"""Sessions in the database, and the rules of keeping them.

Each method is one transaction.  What it returns is on the disk; where it raises
errors.DatabaseFailure, StorageFailure or InsufficientStorage nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from runnerd.database import Connection, Database, Duplicate
from runnerd.errors import Conflict, LimitReached, SessionNotFound
from runnerd.session_settings import SessionSettings
from runnerd.sessions import quotas
from runnerd.sessions import session_rows as rows
from runnerd.sessions.session import Session, Turn


class Whose(NamedTuple):
    """Whose sessions there are for who asks: those of a principal's id, or with `all` everybody's.

    A name is looked for among one's own.
    """

    id: str
    all: bool = False


class KeptSession(NamedTuple):
    """A session that was written down, and ids of those that had to make room for it."""

    session: Session
    removed: list[str]


class Listed(NamedTuple):
    """A session as it is shown, with what is said of its end."""

    session: Session
    warnings: list[str]


class History(NamedTuple):
    """A session and all of its turns, at one moment."""

    session: Session
    turns: list[Turn]
    warnings: list[str]


class SessionStore:
    """Owns the tables of sessions and turns.  `clock` says Unix time."""

    def __init__(
        self,
        database: Database,
        settings: Callable[[], SessionSettings],
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock

    async def add(self, session: Session) -> KeptSession:
        """Keep a new session.  Raises errors.Conflict for a name that its principal has used."""
        settings, now = self._settings(), self._clock()
        session = replace(
            session,
            created=now,
            used=now,
            expires=now + settings.expire_after,
            bytes=_size(session.system) + _size(session.name),
        )

        def work(connection: Connection) -> KeptSession:
            named = rows.find_named(connection, session.principal, session.name)
            if named is not None and named.expires <= now:
                rows.delete(connection, [named.id])
            try:
                rows.insert(connection, session)
            except Duplicate as error:
                raise Conflict(
                    f"you have a session {session.name!r} already; go on with it, delete it, or"
                    " choose another name",
                    param="name",
                ) from error
            return KeptSession(session, self._make_room(connection, session))

        return await self._database.write(work)

    async def get(self, whose: Whose, id: str) -> Session:
        """The session with this id or name.  Raises errors.SessionNotFound."""
        return await self._database.read(lambda connection: self._find(connection, whose, id))

    async def history(self, whose: Whose, id: str) -> History:
        """A session and what was said in it.  Raises errors.SessionNotFound."""

        def work(connection: Connection) -> History:
            session = self._find(connection, whose, id)
            said = self._warnings(connection, [session])
            return History(session, rows.turns(connection, session.id), said[0])

        return await self._database.read(work)

    async def listed(self, whose: Whose, limit: int) -> list[Listed]:
        """Sessions, the one that was used last first."""

        def work(connection: Connection) -> list[Listed]:
            now = self._clock()
            found = rows.select(connection, None if whose.all else whose.id, limit)
            found = [session for session in found if session.expires > now]
            said = self._warnings(connection, found)
            return [Listed(*each) for each in zip(found, said, strict=True)]

        return await self._database.read(work)

    async def add_turn(self, turn: Turn) -> KeptSession:
        """Write a turn down, as the next one of its session.

        Raises errors.SessionNotFound where that was deleted meanwhile, and errors.Conflict where
        another turn has taken its number.
        """
        settings, now = self._settings(), self._clock()

        def work(connection: Connection) -> KeptSession:
            session = rows.find(connection, turn.session)
            if session is None:
                raise not_found(turn.session)
            if turn.number != session.turns + 1:
                raise Conflict(f"session {session.id} has {session.turns} turns by now")
            session = replace(
                session,
                turns=turn.number,
                used=now,
                expires=max(session.expires, now + settings.expire_after),
                bytes=session.bytes
                + _size(turn.parts or turn.prompt, turn.response, turn.reasoning),
            )
            rows.insert_turn(connection, turn)
            rows.touch(connection, session)
            return KeptSession(session, self._make_room(connection, session))

        return await self._database.write(work)

    async def last_response(self, id: str) -> str | None:
        """What was last answered in a session, if anything was."""
        return await self._database.read(lambda connection: rows.last_response(connection, id))

    async def delete(self, whose: Whose, id: str) -> Session:
        """Remove a session.  Raises errors.SessionNotFound."""

        def work(connection: Connection) -> Session:
            session = self._find(connection, whose, id)
            rows.delete(connection, [session.id])
            return session

        return await self._database.write(work)

    async def count(self) -> int:
        """How many sessions there are, of everybody."""
        return await self._database.read(rows.count)

    async def expire(self) -> list[str]:
        """Remove the sessions whose time is over, or whose user is no more; return their ids."""
        now = self._clock()
        if not await self._database.read(lambda connection: rows.ended(connection, now)):
            return []

        def work(connection: Connection) -> list[str]:
            ended = rows.ended(connection, now)
            rows.delete(connection, ended)
            return ended

        return await self._database.write(work)

    def check_size(self, session: Session, prompt: str) -> None:
        """Refuse a prompt with which a session alone would be more than is kept of one user.

        Raises errors.LimitReached.
        """
        most = self._settings().bytes_per_user
        if session.bytes + _size(prompt) > most:
            raise LimitReached(
                f"this session has {session.bytes} bytes, and {most} are kept of one user;"
                " begin a new one",
                limit="bytes_per_user",
            )

    def _find(self, connection: Connection, whose: Whose, id: str) -> Session:
        found = rows.find_named(connection, whose.id, id) or rows.find(connection, id)
        if found is None or found.expires <= self._clock():
            raise not_found(id)
        if found.principal != whose.id and not whose.all:
            raise not_found(id)
        return found

    def _make_room(self, connection: Connection, session: Session) -> list[str]:
        settings = self._settings()
        gone = quotas.superfluous(
            rows.holdings(connection, session.principal),
            most=settings.per_user,
            most_bytes=settings.bytes_per_user,
            spared=session.id,
        )
        rows.delete(connection, gone)
        return gone

    def _warnings(self, connection: Connection, sessions: list[Session]) -> list[list[str]]:
        settings, now = self._settings(), self._clock()
        going: dict[str, set[str]] = {}
        for principal in {session.principal for session in sessions}:
            going[principal] = quotas.next_to_go(
                rows.holdings(connection, principal),
                most=settings.per_user,
                most_bytes=settings.bytes_per_user,
            )
        return [
            quotas.warnings(
                session.expires,
                now,
                warn_before=settings.warn_before,
                is_next=session.id in going[session.principal],
            )
            for session in sessions
        ]


def not_found(id: str) -> SessionNotFound:
    """There is no such session, or none for who asks."""
    return SessionNotFound(f"there is no session {id[:100]!r}; `runnerd session list` shows yours")


def _size(*texts: str) -> int:
    return sum(len(text.encode()) for text in texts)
