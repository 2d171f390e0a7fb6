"""Which claims count."""

from __future__ import annotations

from runnerd.access import owner_principal
from runnerd.jobs.job import NewJob, queued
from runnerd.jobs.queue import Claim
from runnerd.jobs.sqlite.leases import Leases

JOB = queued("x", NewJob(owner_principal(0), "m", ()), 1.0)


def test_a_claims_life() -> None:
    """It ends with its time, or when it is given back or taken away; an older one changes none."""
    now = 0.0
    leases = Leases(lambda: now)
    told: list[tuple[str, int]] = []
    leases.listeners.append(lambda id, token: told.append((id, token)))
    old, claim = Claim(JOB, 1, "w"), Claim(JOB, 2, "w")
    leases.take([claim], 10.0)
    assert not leases.extend(old, 10.0)
    leases.give_back(old)
    now = 9.0
    assert leases.extend(claim, 10.0)
    assert list(leases.overdue()) == []
    now = 19.0
    assert list(leases.overdue()) == [claim]
    leases.revoke("x", 2)
    assert told == [("x", 2)]
    assert not leases.extend(claim, 10.0)
    leases.take([claim], 10.0)
    leases.give_back(claim)
    leases.revoke_all()
    assert told == [("x", 2)]
