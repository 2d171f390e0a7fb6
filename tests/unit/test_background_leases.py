"""Which jobs make room for whom."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from runnerd.access import NOBODY
from runnerd.errors import Displaced, RunnerdError
from runnerd.scheduler import (
    BACKGROUND,
    Grant,
    Limits,
    RunnerKey,
    Scheduler,
    Start,
    Terms,
)
from runnerd.supervisor.background_leases import BackgroundLeases
from runnerd.supervisor.lease import Lease

KEYS = [RunnerKey("llama.cpp", name, "completion", "0") for name in "ab"]
NEVER, AT_ONCE = 1e9, 1e-9  # patience with people


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
    """Leases of two models with so many slots each."""

    def __init__(self, slots: int | None, *, patience: float) -> None:
        limits = Limits(
            capacity=2, queue_length=9, queue_timeout=9.0, keep_alive=-1.0, patience=patience
        )
        self.scheduler = Scheduler(limits)
        for key in KEYS:
            self.scheduler.set_terms(key, Terms(slots=slots))
        self.background = BackgroundLeases(self.scheduler)
        self.all: dict[int, Lease] = {}
        self.tickets = 0

    def grant(self, *, job: bool, key: RunnerKey = KEYS[0]) -> Holder:
        """Hand out a place, on a runner that is started where there is none."""
        self.tickets += 1
        priority = BACKGROUND if job else 0
        client = str(self.tickets)
        found = self.scheduler.request(self.tickets, key, 0.0, client=client, priority=priority)
        for decision in found:
            if isinstance(decision, Start):
                found = self.scheduler.ready(key, decision.generation, 0.0)
        [granted] = [each for each in found if isinstance(each, Grant)]
        holder = Holder()
        lease = Lease(
            cast(Any, None),
            *granted,
            lambda lease: None,
            holder=cast(Any, holder),
            principal=NOBODY,
            recalls=False,
        )
        self.all[granted.ticket] = lease
        if job:
            self.background.leases[granted.ticket] = lease
        self.background.settle(lease, self.all)
        return holder


async def told(*holders: Holder) -> list[bool]:
    await asyncio.sleep(0)
    return [holder.told for holder in holders]


async def test_beside_people() -> None:
    """Where jobs work beside people, an instance's last job goes whose slot is to be shared."""
    leases = Leases(2, patience=0)
    first, other = leases.grant(job=True), leases.grant(job=True, key=KEYS[1])
    leases.grant(job=False)
    assert await told(first, other) == [False, False]
    leases.grant(job=False)
    assert await told(first, other) == [True, False]


@pytest.mark.parametrize("slots", [None, 8])
async def test_room_enough(slots: int | None) -> None:
    """Where nobody shares a slot, or nobody knows, none goes."""
    leases = Leases(slots, patience=0)
    jobs = [leases.grant(job=True) for _ in range(3)]
    leases.grant(job=False)
    assert not any(await told(*jobs))


async def test_in_pauses() -> None:
    """Every job goes when somebody comes, wherever that is."""
    leases = Leases(8, patience=NEVER)
    jobs = [leases.grant(job=True) for _ in range(3)]
    assert not any(await told(*jobs))
    leases.grant(job=False, key=KEYS[1])
    assert all(await told(*jobs))


async def test_one_is_let_through() -> None:
    """The oldest one stays where none got done for too long, but shares no slot with anybody."""
    leases = Leases(4, patience=AT_ONCE)
    jobs = [leases.grant(job=True) for _ in range(3)]
    leases.scheduler.jobs_wait(0.0)
    leases.grant(job=False)
    assert await told(*jobs) == [False, True, True]
    leases = Leases(1, patience=AT_ONCE)
    job = leases.grant(job=True)
    leases.scheduler.jobs_wait(0.0)
    leases.grant(job=False)
    assert await told(job) == [True]
