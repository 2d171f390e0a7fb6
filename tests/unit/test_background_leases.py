"""Which jobs make room for whom."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from runnerd.access import NOBODY
from runnerd.backends.configuration import BackendMode
from runnerd.errors import Displaced, RunnerdError
from runnerd.scheduler import Grant, RunnerKey
from runnerd.supervisor.background_leases import BackgroundLeases
from runnerd.supervisor.lease import Lease

KEY = RunnerKey("llama.cpp", "load", BackendMode.COMPLETION, "")


class Holder:
    """Who has a lease, and is told to give it back."""

    def __init__(self) -> None:
        self.told = False

    def revoked(self, failure: object) -> None: ...

    def heard_at(self) -> float:
        return 0.0

    def fail(self, error: RunnerdError) -> None:
        self.told = isinstance(error, Displaced)


class Leases:
    """Leases of instances with so many slots."""

    def __init__(self, slots: int | None, *, idle_only: bool = False) -> None:
        self.background = BackgroundLeases(lambda lease: slots, lambda: idle_only)
        self.all: dict[int, Lease] = {}

    def grant(self, *, job: bool, generation: int = 1, waited_for: bool = False) -> Holder:
        holder = Holder()
        ticket = len(self.all) + 1
        lease = Lease(
            cast(Any, None),
            Grant(ticket, KEY, generation),
            lambda lease: None,
            holder=cast(Any, holder),
            principal=NOBODY,
            recalls=False,
        )
        self.all[ticket] = lease
        if job:
            self.background.leases[ticket] = lease
        self.background.settle(lease, self.all, waited_for=waited_for)
        return holder


async def test_beyond_the_slots() -> None:
    """The last job goes, of that instance, and only when somebody would have to share a slot."""
    leases = Leases(2)
    first, other = leases.grant(job=True), leases.grant(job=True, generation=2)
    leases.grant(job=False)
    await asyncio.sleep(0)
    assert not first.told
    leases.grant(job=False)
    await asyncio.sleep(0)
    assert (first.told, other.told) == (True, False)


@pytest.mark.parametrize("slots", [None, 8])
async def test_room_enough(slots: int | None) -> None:
    """Where nobody shares a slot, or nobody knows, none goes."""
    leases = Leases(slots)
    jobs = [leases.grant(job=True) for _ in range(3)]
    leases.grant(job=False)
    await asyncio.sleep(0)
    assert not any(job.told for job in jobs)


async def test_idle_only() -> None:
    """Every job goes as soon as anybody is served, or waits."""
    leases = Leases(8, idle_only=True)
    job = leases.grant(job=True)
    await asyncio.sleep(0)
    assert not job.told
    late = leases.grant(job=True, waited_for=True)
    await asyncio.sleep(0)
    assert job.told
    assert late.told
    leases = Leases(8, idle_only=True)
    job = leases.grant(job=True)
    leases.grant(job=False, generation=2)
    await asyncio.sleep(0)
    assert job.told
