"""What users ask the owner for, and how that is decided.

| state | `accepted` | `complete` | what it means |
|---|---|---|---|
| PENDING | no | no | nobody has decided, it is being carried out, or that has failed |
| ACCEPTED | yes | yes | the owner has accepted it, and what was asked for was done |
| REJECTED | no | yes | the owner does not want it |
| WITHDRAWN | no | yes | the user does not want it any more |

Accepting is carried out first and written down when it was done, so one that fails, or that a crash
interrupts, is pending as before and can be accepted again.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runnerd.access.actions import Action
from runnerd.errors import Conflict

MOST_PENDING = 100
"""How many requests of one user may wait for a decision."""

MOST_AN_HOUR = 150
"""How many one user may make in an hour: each goes into the audit, which is bounded."""


class ApprovalKind(enum.StrEnum):
    """What is asked for."""

    PERMISSIONS = "permissions"
    DOWNLOAD = "download"
    LOAD = "load"
    UNLOAD = "unload"


class ApprovalState(enum.StrEnum):
    """What has become of it."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


ASKING: Mapping[ApprovalKind, Action] = {
    ApprovalKind.PERMISSIONS: Action.USE_ACCOUNT,
    ApprovalKind.DOWNLOAD: Action.REQUEST_DOWNLOAD,
    ApprovalKind.LOAD: Action.REQUEST_LOAD,
    ApprovalKind.UNLOAD: Action.REQUEST_UNLOAD,
}
"""The action that asking for each takes."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One request of a user.

    `details` is what is asked for: `may`, names of permissions that take the place of those that
    the user has, or a `model` and how to get it.  `reason` is the user's word for why; `failure`
    says why the last try failed.  Times are Unix time in seconds; `decided_by` is what the one who
    decided is called, and `decision_reason` that one's word for why.
    """

    id: str
    user_id: str
    kind: ApprovalKind
    details: Mapping[str, Any]
    created: float
    reason: str = ""
    state: ApprovalState = ApprovalState.PENDING
    failure: str | None = None
    decided: float | None = None
    decided_by: str = ""
    decision_reason: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the owner has accepted it, and it was done."""
        return self.state is ApprovalState.ACCEPTED

    @property
    def complete(self) -> bool:
        """Whether nothing will become of it any more."""
        return self.state is not ApprovalState.PENDING


def still_open(approval: Approval, decision: ApprovalState) -> bool:
    """Whether a decision is still to be made; False where it was made before, just the same.

    Raises errors.Conflict, which says who has decided otherwise.
    """
    if approval.state is ApprovalState.PENDING:
        return True
    if approval.state is decision:
        return False
    raise Conflict(f"{approval.decided_by} has {approval.state} this request before")
