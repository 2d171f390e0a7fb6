"""What an exchange stands between: its client, and what all exchanges share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from runnerd.access import Principal
from runnerd.config import Limits
from runnerd.relay.pool import EnginePools
from runnerd.relay.quarantine import Quarantine
from runnerd.relay.stall_timeouts import StallTimeouts
from runnerd.supervisor import Supervisor


class Client(Protocol):
    """The connection's side of an exchange."""

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        ...

    def exchange_done(self, *, keep_alive: bool) -> None:
        """The answer is complete; without `keep_alive` the connection must close."""
        ...

    def principal(self) -> Principal:
        """Who makes the request."""
        ...


@dataclass(frozen=True, slots=True)
class ExchangeContext:
    """What every exchange works with."""

    supervisor: Supervisor
    limits: Limits
    pools: EnginePools
    watch: StallTimeouts
    quarantine: Quarantine
