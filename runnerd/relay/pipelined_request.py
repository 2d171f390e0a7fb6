"""One request of a connection on its way to a response, and the memory that its body takes."""

from __future__ import annotations

import msgspec

from runnerd.errors import RunnerdError
from runnerd.relay.body_budget import BodyBudget
from runnerd.relay.messages import Request
from runnerd.relay.routes import Route


class PipelinedRequest(msgspec.Struct, eq=False):
    """A request of a connection, with what is to become of it.  A struct: one is made per request.

    `claimed` is how much of its body counts as what the principal `claimant` holds.
    """

    request: Request
    route: Route | None
    error: RunnerdError | None = None
    claimed: int = 0
    claimant: str = ""
    unix: bool = False

    def hold(self, size: int, bodies: BodyBudget, claimant: str | None, *, unix: bool) -> bool:
        """Account for a piece of its body, and for all of it as a claimant's if there is one; False
        when there is too much.
        """
        if not bodies.hold(size, unix):
            return False
        if claimant is not None:
            if self.claimed:
                claimant = self.claimant  # whatever the connection is taken for meanwhile
            collected = len(self.request.body) + size
            if not bodies.claim(claimant, collected - self.claimed, unix):
                bodies.let_go(size)
                return False
            self.claimant, self.claimed, self.unix = claimant, collected, unix
        return True

    def forget_body(self, bodies: BodyBudget) -> None:
        """Give the memory of a collected body back to the budget, once."""
        if self.request.body:
            bodies.held -= len(self.request.body)
            self.request.body = b""
        if self.claimed:
            bodies.give_back(self.claimant, self.claimed, self.unix)
            self.claimed = 0
