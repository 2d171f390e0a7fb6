"""What all exchanges share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from runnerd.access import Principal
from runnerd.errors import RunnerdError
from runnerd.limit_settings import Limits
from runnerd.relay.leasing import Leasing
from runnerd.relay.plan import Plan
from runnerd.relay.pool import EnginePools
from runnerd.relay.quarantine import Quarantine
from runnerd.relay.records import RequestRecord
from runnerd.relay.stall_timeouts import StallTimeouts
from runnerd.relay.unread_streams import UnreadStreams


class RunningExchange(Protocol):
    """One that has started and is not over."""

    @property
    def record(self) -> RequestRecord: ...

    def fail(self, error: RunnerdError) -> None:
        """End with an error."""
        ...


@dataclass(frozen=True, slots=True)
class ExchangeContext:
    """What every exchange works with.

    `ended` is told of each one once its record is complete.  `still_allowed` raises what a
    principal would be told that asked for a plan now (None: for what is not known yet).
    """

    supervisor: Leasing
    limits: Limits
    pools: EnginePools
    watch: StallTimeouts
    unread: UnreadStreams
    quarantine: Quarantine
    ended: Callable[[Principal, RequestRecord], None]
    still_allowed: Callable[[Principal, Plan | None], None]
    running: set[RunningExchange] = field(default_factory=set)
