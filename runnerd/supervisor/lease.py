"""One request's claim on one runner, and those who wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from runnerd.access import Principal
from runnerd.errors import BackendFailure, RunnerdError
from runnerd.runner import Runner
from runnerd.scheduler import RunnerKey


class Claimant(Protocol):
    """Who waits for a lease.  One of the two is called, once, and must not raise."""

    def granted(self, lease: Lease) -> None:
        """Take a lease, which has to be released.  One that `recalls` is worth waiting for."""
        ...

    def refused(self, error: RunnerdError) -> None:
        """Hear why there will be none."""
        ...


class LeaseHolder(Protocol):
    """Who has a lease, as long as that is not released."""

    def revoked(self, failure: BackendFailure) -> None:
        """Hear that the runner is taken away by force, and why.

        Its engine ends only when the holder's connection to it has gone.
        """
        ...

    def fail(self, error: RunnerdError) -> None:
        """End with an error, which gives the lease back."""
        ...

    def heard_at(self) -> float:
        """When the engine last sent something that it had computed then (monotonic).

        0: nothing since the lease began; runner.UNASKED: nothing is wanted of its working thread.
        """
        ...


class Waiter(NamedTuple):  # a tuple: one is made for each request that waits
    """Somebody who waits for a lease of `key`, which will be the holder's.

    `background`: nobody waits for what it is for.
    """

    key: RunnerKey
    principal: Principal
    claimant: Claimant
    holder: LeaseHolder | None
    background: bool = False


class Promise:
    """A claimant that is awaited."""

    def __init__(self) -> None:
        self._future: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()

    def granted(self, lease: Lease) -> None:
        if self._future.done():  # who awaited it has gone, and is about to say so
            lease.release()
        else:
            self._future.set_result(lease)

    def refused(self, error: RunnerdError) -> None:
        if not self._future.done():
            self._future.set_exception(error)

    async def kept(self) -> Lease:
        """Wait for the lease.  Raises what was refused with."""
        return await self._future


class Lease(msgspec.Struct, eq=False):
    """Whoever has it must release it; twice is harmless.

    Without a `holder` nobody is told when the runner is taken away, and its engine counts as silent
    since the lease began.  `recalls` says that the runner can be given back what this `principal`
    had evaluated.  `computed` is set once its engine has computed a response to the end.  A struct:
    one is made per request.
    """

    runner: Runner
    ticket: int
    key: RunnerKey
    generation: int
    _release: Callable[[Lease], None]
    holder: LeaseHolder | None
    principal: Principal
    recalls: bool
    computed: bool = False

    def release(self) -> None:
        """Give the runner back."""
        # Who has this: a circle would keep its request's body in memory.
        self.holder = None
        self._release(self)
