"""Stand-ins for the supervisor, as far as the relay asks it: mypy holds them against `Leasing`."""

from __future__ import annotations

from runnerd.access import NOBODY, Principal
from runnerd.errors import NotSupported
from runnerd.relay.leasing import RunnersSessions
from runnerd.runner import Runner
from runnerd.scheduler import RunnerKey
from runnerd.supervisor import Lease, LeaseHolder
from runnerd.supervisor.lease import Claimant
from runnerd.supervisor.session_life import Buffer
from runnerd.supervisor.unloading import Unloading


class NoSessions:
    """No runner has any."""

    lives: frozenset[Runner] = frozenset()

    def awaits(self, runner: Runner, session: str) -> bool:
        return False

    def asked(self, runner: Runner, session: str, body: tuple[Buffer, ...]) -> None: ...

    def served(self, runner: Runner, name: str, tokens: int) -> None: ...

    async def recall(self, runner: Runner, session: str) -> None: ...


class NoRunners:
    """A supervisor that has none; a test's own gives what it has of them."""

    session_states: RunnersSessions = NoSessions()

    @property
    def unloading(self) -> Unloading:
        raise NotSupported("there is nothing to unload")

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
        return None

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
        return None

    def leave(self, ticket: int) -> None: ...

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
        raise NotSupported("let in")

    async def recalled(self, lease: Lease) -> Lease:
        return lease

    def wanted(self, key: RunnerKey) -> int:
        return 0
