"""One request's claim on one runner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from runnerd.errors import BackendFailure
from runnerd.runner import Runner
from runnerd.scheduler import Grant, RunnerKey


@dataclass(frozen=True, slots=True)
class Waiter:
    """Somebody who waits for a lease of `key`."""

    key: RunnerKey
    client: str
    lease: asyncio.Future[Lease]


class Lease:
    """Whoever holds it must release it; twice is harmless.

    `revoked` is called with the reason when the runner is taken away by force; its engine ends
    only when the holder's connection to it has gone.  `heard_at` says when the engine last sent
    something (monotonic); without it the engine counts as silent since the lease began.  `recalls`
    says that the runner can be given back what this `client` had evaluated.
    """

    __slots__ = (
        "_release",
        "client",
        "generation",
        "heard_at",
        "key",
        "recalls",
        "revoked",
        "runner",
        "ticket",
    )

    def __init__(
        self,
        runner: Runner,
        granted: Grant,
        release: Callable[[Lease], None],
        client: str,
        recalls: bool,
    ) -> None:
        self.runner = runner
        self.ticket, self.key, self.generation = granted
        self.client = client
        self.recalls = recalls
        self.revoked: Callable[[BackendFailure], None] | None = None
        self.heard_at: Callable[[], float] | None = None
        self._release = release

    def release(self) -> None:
        """Give the runner back."""
        # They belong to the holder, who has this: a circle would keep its request's body in memory.
        self.revoked = self.heard_at = None
        self._release(self)
