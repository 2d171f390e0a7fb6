"""Whether a principal may do something.  Pure, and asked in one place for each kind of route:

| what | asked by |
|---|---|
| inference | `relay/service`, after the request is planned and before anything is queued |
| the control plane | the middleware of `api/app`, before the handler sees the request |
| a runner's own socket | `backends/guard`, before anything reaches the engine |
"""

from __future__ import annotations

from typing import Protocol

from runnerd.access.actions import Action
from runnerd.access.principals import Principal


class Policy(Protocol):
    """Decides who may do what."""

    def check(self, principal: Principal, action: Action, model: str | None = None) -> None:
        """Raise errors.Forbidden, naming what is missing, unless `principal` may do `action`.

        `model` is the id of the model that it concerns, None where it concerns none or all.
        """
        ...


class AllowAll:
    """Whoever reaches a listener may do everything there; who reaches it is up to its file mode,
    group or address.
    """

    def check(self, principal: Principal, action: Action, model: str | None = None) -> None:
        """Allow it."""
