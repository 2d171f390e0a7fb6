"""What exchanges ask of the supervisor: leases of runners, and what these have of sessions.

A protocol, so that whoever stands in for the supervisor in a test has every member of it, or does
not pass the type check.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol

from runnerd.access import NOBODY, Principal
from runnerd.runner import Runner
from runnerd.scheduler import RunnerKey
from runnerd.supervisor import Lease, LeaseHolder
from runnerd.supervisor.lease import Claimant
from runnerd.supervisor.session_life import Buffer
from runnerd.supervisor.unloading import Unloading


class RunnersSessions(Protocol):
    """As `supervisor.session_states.SessionStates`."""

    @property
    def lives(self) -> Container[Runner]:
        """The runners that have sessions."""
        ...

    def awaits(self, runner: Runner, session: str) -> bool:
        """Whether something has to be restored or saved before a runner is asked."""
        ...

    def asked(self, runner: Runner, session: str, body: tuple[Buffer, ...]) -> None:
        """A runner is asked the next prompt of a session."""
        ...

    def served(self, runner: Runner, name: str, tokens: int) -> None:
        """A runner has answered in a conversation, which has so many tokens now."""
        ...

    async def recall(self, runner: Runner, session: str) -> None:
        """Let a runner have what was kept of a session."""
        ...


class Leasing(Protocol):
    """As `supervisor.Supervisor`, which explains the arguments."""

    @property
    def session_states(self) -> RunnersSessions:
        """What runners have of sessions."""
        ...

    @property
    def unloading(self) -> Unloading:
        """Ends runners."""
        ...

    def lease_at_once(
        self,
        key: RunnerKey,
        *,
        holder: LeaseHolder | None = None,
        principal: Principal = NOBODY,
        keep_alive: float | None = None,
        affinity: tuple[int, ...] = (),
        background: bool = False,
        long: bool = False,
    ) -> Lease | None:
        """A lease if a runner is ready, None if it would take waiting."""
        ...

    def line_up(
        self,
        key: RunnerKey,
        claimant: Claimant,
        *,
        holder: LeaseHolder | None = None,
        principal: Principal = NOBODY,
        keep_alive: float | None = None,
        affinity: tuple[int, ...] = (),
        priority: int = 0,
        long: bool = False,
        full: bool = False,
    ) -> int | None:
        """The ticket of who waits in line, None where that takes more than waiting."""
        ...

    def leave(self, ticket: int) -> None:
        """Wait no more."""
        ...

    async def lease(
        self,
        key: RunnerKey,
        model_ref: str,
        *,
        holder: LeaseHolder | None = None,
        keep_alive: float | None = None,
        principal: Principal = NOBODY,
        affinity: tuple[int, ...] = (),
        priority: int = 0,
        afresh: bool = False,
        long: bool = False,
    ) -> Lease:
        """Wait for a runner.  Raises as the supervisor does."""
        ...

    async def recalled(self, lease: Lease) -> Lease:
        """A lease once its runner has what was kept for its client."""
        ...

    def wanted(self, key: RunnerKey) -> int:
        """How many requests wait for what a runner of a key has."""
        ...
