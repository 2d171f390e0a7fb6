"""A clock that was set is corrected once, and one that only hangs is not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from runnerd.jobs.fleet.job_index import JobIndex
from runnerd.jobs.fleet.site_clock import SiteClock

_DAY = 86400.0


class _Site:
    """Redis and a host with clocks of their own."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.steady = 50.0
        self.offset = 0.0
        self.slow = 0.0  # how long the next call takes
        self.late = 0.0  # how long its response is on its way
        self.corrections: list[float] = []

    def monotonic(self) -> float:
        return self.steady

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    async def call(self, command: str, *arguments: Any) -> Any:
        self.pass_time(self.slow)
        if command == "look":
            told = [f"{self.wall + self.offset:.6f}".encode(), f"{self.offset:.6f}".encode()]
            self.pass_time(self.late)
            return told
        known, by = map(float, arguments)
        if known != self.offset:
            return 0
        self.offset += by
        self.corrections.append(by)
        return 1


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> _Site:
    found = _Site()
    monkeypatch.setattr("runnerd.jobs.fleet.site_clock.time.monotonic", found.monotonic)
    return found


def _clock(site: _Site) -> SiteClock:
    return SiteClock(cast("JobIndex", site))


@pytest.mark.parametrize("jump", [_DAY, -_DAY])
async def test_a_clock_is_set(site: _Site, jump: float) -> None:
    """Two hosts see it, one corrects it, and time goes on as before."""
    hosts = [_clock(site), _clock(site)]
    for _ in range(3):
        for host in hosts:
            await host.look(60.0)
        site.pass_time(1.0)
    site.wall += jump
    for _ in range(3):
        for host in hosts:
            await host.look(60.0)
        site.pass_time(1.0)
    assert site.corrections == [pytest.approx(-jump)]
    assert site.wall + site.offset - 1_000_000.0 == pytest.approx(site.steady - 50.0)


async def test_nothing_was_set(site: _Site) -> None:
    """A long pause between two looks, a Redis that hangs, and a host that hangs
    while it is told, are time that passed."""
    clock = _clock(site)
    await clock.look(60.0)
    site.pass_time(500.0)
    await clock.look(60.0)
    site.slow = 60.0
    await clock.look(60.0)
    site.slow, site.late = 0.0, 60.0
    await clock.look(60.0)
    site.late = 0.0
    await clock.look(60.0)
    assert site.corrections == []
