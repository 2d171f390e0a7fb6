"""What users have asked for, as rows of the database."""

from __future__ import annotations

import msgspec

from runnerd.access.approvals import Approval, ApprovalKind, ApprovalState
from runnerd.database import Connection

HOUR = 3600.0  # in which so many are made at most, so all of it are kept
_KEPT = 100  # decided ones of each user
_SELECT = (
    "SELECT id, user_id, kind, details, created, reason, state, failure, decided, decided_by,"
    " decision_reason"
    " FROM approvals"
)


def insert(connection: Connection, approval: Approval) -> None:
    """Add a request of a user that there is."""
    connection.execute(
        "INSERT INTO approvals (id, user_id, kind, details, created, reason, state, decided_by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, '')",
        (
            approval.id,
            approval.user_id,
            approval.kind,
            _encoded(approval),
            approval.created,
            approval.reason,
            approval.state,
        ),
    )


def update(connection: Connection, approval: Approval) -> None:
    """Write down what has become of a request; of those that are decided the oldest go."""
    connection.execute(
        "UPDATE approvals SET state = ?, failure = ?, decided = ?, decided_by = ?,"
        " decision_reason = ? WHERE id = ?",
        (
            approval.state,
            approval.failure,
            approval.decided,
            approval.decided_by,
            approval.decision_reason,
            approval.id,
        ),
    )
    connection.execute(
        "DELETE FROM approvals WHERE created < ? AND id IN (SELECT id FROM approvals"
        " WHERE user_id = ? AND state != 'pending' ORDER BY decided DESC LIMIT -1 OFFSET ?)",
        ((approval.decided or 0.0) - HOUR, approval.user_id, _KEPT),
    )


def find(connection: Connection, id: str) -> Approval | None:
    """The request with this id."""
    row = connection.execute(f"{_SELECT} WHERE id = ?", (id,)).fetchone()
    return None if row is None else _approval(row)


def same(connection: Connection, approval: Approval) -> Approval | None:
    """What the user has asked for in the same words, and what is still pending."""
    row = connection.execute(
        f"{_SELECT} WHERE user_id = ? AND state = 'pending' AND kind = ? AND details = ?",
        (approval.user_id, approval.kind, _encoded(approval)),
    ).fetchone()
    return None if row is None else _approval(row)


def count_pending(connection: Connection, user_id: str) -> int:
    """How many requests of a user wait for a decision."""
    found = connection.execute(
        "SELECT count(*) FROM approvals WHERE user_id = ? AND state = 'pending'", (user_id,)
    )
    return int(found.fetchone()[0])


def count_since(connection: Connection, user_id: str, moment: float) -> int:
    """How many requests a user has made since, as far as they are kept."""
    found = connection.execute(
        "SELECT count(*) FROM approvals WHERE user_id = ? AND created > ?", (user_id, moment)
    )
    return int(found.fetchone()[0])


def select(
    connection: Connection, user_id: str | None, state: ApprovalState | None, limit: int
) -> list[Approval]:
    """Requests, the newest first and those that are pending before all others."""
    found = connection.execute(
        f"{_SELECT} WHERE (? IS NULL OR user_id = ?) AND (? IS NULL OR state = ?)"
        " ORDER BY state != 'pending', created DESC, id LIMIT ?",
        (user_id, user_id, state, state, limit),
    )
    return [_approval(row) for row in found]


def _encoded(approval: Approval) -> str:
    """Equal details are equal texts."""
    return msgspec.json.encode(dict(approval.details), order="sorted").decode()


def _approval(
    row: tuple[str, str, str, str, float, str, str, str | None, float | None, str, str],
) -> Approval:
    id, user_id, kind, details, created, reason, state, failure, decided, decided_by, because = row
    return Approval(
        id,
        user_id,
        ApprovalKind(kind),
        msgspec.json.decode(details, type=dict[str, object]),
        created,
        reason,
        ApprovalState(state),
        failure,
        decided,
        decided_by,
        because,
    )
