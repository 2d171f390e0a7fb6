"""What all exchanges share."""

from __future__ import annotations

from dataclasses import dataclass

from runnerd.config import Limits
from runnerd.relay.pool import EnginePools
from runnerd.relay.quarantine import Quarantine
from runnerd.relay.stall_timeouts import StallTimeouts
from runnerd.supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class ExchangeContext:
    """What every exchange works with."""

    supervisor: Supervisor
    limits: Limits
    pools: EnginePools
    watch: StallTimeouts
    quarantine: Quarantine
