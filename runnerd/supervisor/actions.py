"""Carries out what the scheduler decides: at once, in order, and never within another decision."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from runnerd.scheduler import Decision, Scheduler
from runnerd.supervisor.deadline_timer import DeadlineTimer


class Actions:
    """Hands each decision to `act`, and sees to it that no deadline of the scheduler is missed."""

    def __init__(self, scheduler: Scheduler, act: Callable[[Decision], None]) -> None:
        self._scheduler = scheduler
        self._act = act
        self._timer = DeadlineTimer(scheduler.next_deadline, self._tick)
        self._decided: deque[Decision] = deque()  # and not yet carried out
        self._acting = False

    def carry_out(self, decisions: list[Decision]) -> None:
        """Do what was decided; deadlines may have come nearer or gone."""
        self.act_on(decisions)
        self._timer.arm()

    def act_on(self, decisions: list[Decision]) -> None:
        """Do what was decided, in that order; `carry_out` where a deadline may have come nearer.

        Whoever is granted a lease may give it back at once, and the next one may, and so on: what
        is decided meanwhile is done afterwards, not within.
        """
        self._decided += decisions
        if self._acting:
            return
        self._acting = True
        try:
            while self._decided:
                self._act(self._decided.popleft())
        finally:
            self._acting = False

    def wake(self) -> None:
        """Be there at the scheduler's next deadline."""
        self._timer.arm()

    def wake_by(self, deadline: float | None) -> None:
        """Be there at a deadline, None for one that never comes.

        Mostly it is early enough already: this is cheap, however many runners there are.
        """
        if not self._timer.wakes_by(deadline):
            self._timer.arm()

    def close(self) -> None:
        """Keep no deadline any more."""
        self._timer.cancel()

    def _tick(self) -> None:
        self.carry_out(self._scheduler.tick(time.monotonic()))
