"""Unloading at an owner's command."""

from __future__ import annotations

from collections.abc import Callable

from runnerd.scheduler import RunnerKey, Scheduler, Stop
from runnerd.supervisor.actions import Actions
from runnerd.supervisor.fleet import Fleet
from runnerd.supervisor.sharing import Sharing


class Unloading:
    """Stops runners and waits until they are gone."""

    def __init__(
        self,
        scheduler: Scheduler,
        actions: Actions,
        *,
        fleet: Fleet,
        sharing: Sharing,
    ) -> None:
        self._scheduler = scheduler
        self._actions = actions
        self._fleet = fleet
        self._sharing = sharing

    async def unload(self, *, backend: str | None = None, models: set[str] | None = None) -> int:
        """Stop the idle runners of `models` (None: of every model), wait until they are gone.

        Returns how many there were; busy ones stay.
        """
        loads = None if models is None else {self._sharing.load_of(model) for model in models}

        def matches(key: RunnerKey) -> bool:
            return (not backend or key.backend == backend) and (loads is None or key.model in loads)

        return await self.stop_idle(matches)

    async def stop_idle(self, matches: Callable[[RunnerKey], bool]) -> int:
        """Stop the idle runners whose key matches and wait until they are gone; return how many
        there were.
        """
        decisions = self._scheduler.unload(matches)
        stopping = [self._fleet[stop.generation] for stop in decisions if isinstance(stop, Stop)]
        self._actions.carry_out(decisions)
        for runner in stopping:
            await runner.wait_ended()
        return len(stopping)
