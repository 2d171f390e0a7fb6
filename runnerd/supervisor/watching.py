"""Looks at what runners hold while they work.

A need is foretold before the start and looked at when a model is ready; from then on it may grow:
with prompts that are kept, longer contexts, images.  So it is looked at again, often after
something has changed and seldom while nothing does, for as long as there are runners.  One look
reads one small file per engine, and asks the driver once per GPU and engine.
"""

from __future__ import annotations

import asyncio
import time

from runnerd import tasks
from runnerd.runner import RunnerState
from runnerd.scheduler import RunnerKey, Scheduler
from runnerd.supervisor.actions import Actions
from runnerd.supervisor.fleet import Fleet
from runnerd.supervisor.memory import MemoryAccounts
from runnerd.supervisor.preparation import Preparation

_OFTEN, _SELDOM = 1.0, 10.0  # seconds between looks
_BACK_OFF = 1.5


class MemoryWatch:
    """Looks from time to time, from the first runner that begins until there is none."""

    def __init__(
        self,
        scheduler: Scheduler,
        actions: Actions,
        *,
        memory: MemoryAccounts,
        fleet: Fleet,
        preparation: Preparation,
    ) -> None:
        self._scheduler = scheduler
        self._actions = actions
        self._memory = memory
        self._fleet = fleet
        self._preparation = preparation
        self._task: asyncio.Task[None] | None = None
        self._pause = _OFTEN

    def begin(self, key: RunnerKey, generation: int) -> None:
        """A runner is ready: look at it now, and then go on."""
        if self._memory.counts:
            tasks.spawn(self._learn(key, generation), name=f"footprint {key.model}")
            self._pause = _OFTEN
            if self._task is None:
                self._task = tasks.spawn(self._watch(), name="memory watch")

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            await tasks.cancel_and_wait(self._task)

    async def _watch(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._pause)
                if not self._fleet:
                    return
                changed = await self._look()
                self._pause = _OFTEN if changed else min(_SELDOM, self._pause * _BACK_OFF)
        finally:
            self._task = None

    async def _look(self) -> bool:
        """Look at all ready runners: their reservations and limits follow what they hold, and idle
        ones go where all together hold more than they may.  Return whether anything has changed.
        """
        changed = False
        for generation in self._fleet.matching(lambda key: True):
            runner = self._fleet.get(generation)
            if runner is not None and runner.state is RunnerState.READY:
                changed |= await self._learn(runner.key, generation)
        self._preparation.observe(anew=True)
        self._preparation.limit_engines()
        decisions = self._scheduler.relieve(time.monotonic())
        self._actions.carry_out(decisions)
        return changed or bool(decisions)

    async def _learn(self, key: RunnerKey, generation: int) -> bool:
        """Look at what a runner holds, reckon with it, and return whether that is news."""
        runner = self._fleet[generation]
        slots = runner.spec.configuration.parallel
        before = self._memory.known(key, slots)
        holding = await self._memory.learn(key, runner)
        if holding is None:
            return False
        runner.mapped, runner.user = holding.mapped, holding.user
        known = self._memory.known(key, slots)
        self._scheduler.learned(key, generation, known, holding.devices)
        return known != before
