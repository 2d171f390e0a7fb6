"""Where jobs wait for a pause between people."""

from __future__ import annotations

import asyncio
import sys

from runnerd.scheduler import Limits, RunnerKey, Scheduler, Start, Terms
from runnerd.supervisor.job_gate import JobGate

KEY = RunnerKey("llama.cpp", "a", "completion", "0")
NEVER, AT_ONCE = 1e9, 1e-9  # patience with people


class Host:
    """A scheduler with one model, whom people ask."""

    def __init__(self, patience: float) -> None:
        limits = Limits(
            capacity=1, queue_length=9, queue_timeout=9.0, keep_alive=-1.0, patience=patience
        )
        self.scheduler = Scheduler(limits)
        self.scheduler.set_terms(KEY, Terms(slots=4))
        self.gate = JobGate(self.scheduler)

    def come(self, ticket: int) -> None:
        for decision in self.scheduler.request(ticket, KEY, 0.0):
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
