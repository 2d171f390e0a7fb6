"""Where jobs wait for a pause between people."""

from __future__ import annotations

import asyncio
import math
import sys
import time

from runnerd.scheduler import BACKGROUND, Limits, RunnerKey, Scheduler, Start, Terms
from runnerd.supervisor.job_gate import JobGate

KEY = RunnerKey("llama.cpp", "a", "completion", "0")
NEVER, SOON, AT_ONCE = 1e9, 0.01, 1e-9  # patience with people


class Host:
    """A scheduler with one model, whom people ask."""

    def __init__(self, patience: float) -> None:
        limits = Limits(
            capacity=1, queue_length=9, queue_timeout=9.0, keep_alive=-1.0, patience=patience
        )
        self.scheduler = Scheduler(limits)
        self.scheduler.set_terms(KEY, Terms(slots=4))
        self.gate = JobGate(self.scheduler)

    def come(self, ticket: int, *, priority: int = 0, now: float = 0.0) -> None:
        for decision in self.scheduler.request(ticket, KEY, now, priority=priority):
            if isinstance(decision, Start):
                self.scheduler.ready(KEY, decision.generation, 0.0)

    def leave(self, ticket: int) -> None:
        self.scheduler.release(ticket, 0.0)
        self.gate.left()

    def waits(self, running: int = 0) -> asyncio.Task[int]:
        return asyncio.get_running_loop().create_task(self.gate.room(lambda: running))


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_nobody() -> None:
    """Where nobody is, as many begin as there are."""
    assert await Host(NEVER).gate.room(lambda: 7) == sys.maxsize


async def test_until_the_last_one_has_left() -> None:
    """Jobs wait as long as anybody is there."""
    host = Host(NEVER)
    host.come(1)
    host.come(2)
    waiting = host.waits()
    host.leave(1)
    await turn()
    assert not waiting.done()
    host.leave(2)
    assert await waiting == sys.maxsize


async def test_one_beside_people() -> None:
    """Where people leave no pauses one is let through, beside no other one."""
    host = Host(AT_ONCE)
    host.come(1)
    running = [1]
    waiting = asyncio.get_running_loop().create_task(host.gate.room(lambda: len(running)))
    await turn()
    assert not waiting.done()
    running.clear()
    host.gate.look()
    assert await waiting == 1


async def test_beside_others_in_the_background() -> None:
    """What programs ask in the background is let through, too, and keeps no job from its turn."""
    host = Host(AT_ONCE)
    host.come(1)
    host.scheduler.jobs_wait(0.0)
    host.come(2, priority=BACKGROUND, now=1.0)
    assert math.isinf(host.scheduler.jobs_begin_at()), "it is served beside people"
    waiting = host.waits()
    await turn()
    assert not waiting.done()
    host.leave(2)
    assert await waiting == 1


async def test_somebody_is_quicker() -> None:
    """Whose time has come stands in the line with those who are quicker, not behind it."""
    host = Host(SOON)
    host.come(1)
    waiting = host.waits()
    await turn()
    host.come(2, priority=BACKGROUND, now=time.monotonic() + SOON)
    assert math.isinf(host.scheduler.jobs_begin_at()), "it is served beside people"
    assert await waiting == 1


async def test_without_patience() -> None:
    """Then jobs begin beside people."""
    host = Host(0.0)
    host.come(1)
    assert await host.gate.room(lambda: 3) == sys.maxsize


async def test_called_off() -> None:
    """Who waits no more leaves nothing."""
    host = Host(NEVER)
    host.come(1)
    waiting = host.waits()
    await turn()
    waiting.cancel()
    await asyncio.wait([waiting])
    host.leave(1)
    assert await host.gate.room(lambda: 0) == sys.maxsize
