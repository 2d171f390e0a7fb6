"""Sessions and turns as rows of the database."""

from __future__ import annotations

from typing import Any

import msgspec

from runnerd.database import Connection
from runnerd.sessions.session import Session, SessionKind, Turn, TurnState

_SESSION = (
    "SELECT id, principal, model, model_name, name, kind, system, parameters, details, created,"
    " used, expires, turns, bytes FROM sessions"
)
_TURN = (
    "SELECT session, number, prompt, response, created, state, reasoning, finish_reason,"
    " prompt_tokens, cached_tokens, completion_tokens, parts FROM turns"
)


def insert(connection: Connection, session: Session) -> None:
    """Add a session.  Raises database.Duplicate where its principal has one of that name."""
    connection.execute(
        f"INSERT INTO sessions VALUES ({', '.join('?' * 14)})",
        (
            session.id,
            session.principal,
            session.model,
            session.model_name,
            session.name,
            session.kind,
            session.system,
            msgspec.json.encode(dict(session.parameters)).decode(),
            msgspec.json.encode(dict(session.details)).decode(),
            session.created,
            session.used,
            session.expires,
            session.turns,
            session.bytes,
        ),
    )


def insert_turn(connection: Connection, turn: Turn) -> None:
    """Add a turn to a session that there is."""
    connection.execute(
        f"INSERT INTO turns VALUES ({', '.join('?' * 12)})",
        (
            turn.session,
            turn.number,
            turn.prompt,
            turn.response,
            turn.created,
            turn.state,
            turn.reasoning,
            turn.finish_reason,
            turn.prompt_tokens,
            turn.cached_tokens,
            turn.completion_tokens,
            turn.parts,
        ),
    )


def touch(connection: Connection, session: Session) -> None:
    """Write down when a session was used, how long it is kept and how much is in it."""
    connection.execute(
        "UPDATE sessions SET used = ?, expires = ?, turns = ?, bytes = ? WHERE id = ?",
        (session.used, session.expires, session.turns, session.bytes, session.id),
    )


def find(connection: Connection, id: str) -> Session | None:
    """The session with this id."""
    row = connection.execute(f"{_SESSION} WHERE id = ?", (id,)).fetchone()
    return None if row is None else _session(row)


def find_named(connection: Connection, principal: str, name: str) -> Session | None:
    """The session of a principal with this name."""
    row = connection.execute(
        f"{_SESSION} WHERE principal = ? AND name = ? AND name != ''", (principal, name)
    ).fetchone()
    return None if row is None else _session(row)


def select(connection: Connection, principal: str | None, limit: int) -> list[Session]:
    """Sessions of a principal or of all, the one that was used last first."""
    rows = connection.execute(
        f"{_SESSION} WHERE ? IS NULL OR principal = ? ORDER BY used DESC, id LIMIT ?",
        (principal, principal, limit),
    )
    return [_session(row) for row in rows]


def count(connection: Connection) -> int:
    """How many sessions there are, of everybody."""
    (found,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
    return int(found)


def turns(connection: Connection, session: str) -> list[Turn]:
    """All turns of a session, in their order."""
    rows = connection.execute(f"{_TURN} WHERE session = ? ORDER BY number", (session,))
    return [_turn(row) for row in rows]


def last_response(connection: Connection, session: str) -> str | None:
    """What was last answered in a session, if anything was."""
    row = connection.execute(
        "SELECT response FROM turns WHERE session = ? ORDER BY number DESC LIMIT 1", (session,)
    ).fetchone()
    return None if row is None else str(row[0])


def holdings(connection: Connection, principal: str) -> list[tuple[str, int]]:
    """Ids and bytes of a principal's sessions, the one that was used longest ago first."""
    return connection.execute(
        "SELECT id, bytes FROM sessions WHERE principal = ? ORDER BY used, id", (principal,)
    ).fetchall()


def delete(connection: Connection, ids: list[str]) -> None:
    """Remove sessions and their turns."""
    connection.executemany("DELETE FROM sessions WHERE id = ?", [(id,) for id in ids])


def ended(connection: Connection, now: float) -> list[str]:
    """Ids of the sessions whose time is over, or whose user is no more."""
    rows = connection.execute(
        "SELECT id FROM sessions WHERE expires <= ? OR (principal LIKE 'user %'"
        " AND substr(principal, 6) NOT IN (SELECT id FROM users))",
        (now,),
    )
    return [id for (id,) in rows]


def _session(row: tuple[Any, ...]) -> Session:
    id, principal, model, model_name, name, kind, system, parameters, details, *rest = row
    return Session(
        id,
        principal,
        model,
        model_name,
        name,
        SessionKind(kind),
        system,
        msgspec.json.decode(parameters, type=dict[str, Any]),
        msgspec.json.decode(details, type=dict[str, Any]),
        *rest,
    )


def _turn(row: tuple[Any, ...]) -> Turn:
    session, number, prompt, response, created, state, *rest = row
    return Turn(session, number, prompt, response, created, TurnState(state), *rest)
