"""Unloading at an owner's command."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from runnerd.errors import BackendFailure
from runnerd.runner import RunnerState
from runnerd.scheduler import RunnerKey, Scheduler, Stop
from runnerd.supervisor.actions import Actions
from runnerd.supervisor.claims import Claims
from runnerd.supervisor.fleet import Fleet
from runnerd.supervisor.sharing import Sharing


class Unloaded(NamedTuple):
    """How many runners were stopped, and how many stay because somebody uses or awaits them."""

    stopped: int
    in_use: int


class Unloading:
    """Stops runners and waits until they are gone."""

    def __init__(
        self,
        scheduler: Scheduler,
        actions: Actions,
        *,
        fleet: Fleet,
        claims: Claims,
        sharing: Sharing,
    ) -> None:
        self._scheduler = scheduler
        self._actions = actions
        self._fleet = fleet
        self._claims = claims
        self._sharing = sharing

    async def unload(
        self,
        *,
        backend: str | None = None,
        models: set[str] | None = None,
        force: bool = False,
    ) -> Unloaded:
        """Stop the idle runners of `models` (None: of every model), wait until they are gone.

        Those that are in use or waited for stay; by `force` they end, and so do their requests.
        """
        loads = None if models is None else {self._sharing.load_of(model) for model in models}

        def matches(key: RunnerKey) -> bool:
            return (not backend or key.backend == backend) and (loads is None or key.model in loads)

        stopped = await self._stop(matches, force=force)
        alive = (RunnerState.STARTING, RunnerState.READY)
        kept = [g for g in self._fleet.matching(matches) if self._fleet[g].state in alive]
        return Unloaded(stopped, len(kept))

    async def stop_idle(self, matches: Callable[[RunnerKey], bool]) -> None:
        """Stop the idle runners whose key matches and wait until they are gone."""
        await self._stop(matches)

    async def _stop(self, matches: Callable[[RunnerKey], bool], *, force: bool = False) -> int:
        decisions = self._scheduler.unload(matches, force=force)
        generations = [stop.generation for stop in decisions if isinstance(stop, Stop)]
        stopping = [self._fleet[generation] for generation in generations]
        self._actions.carry_out(decisions)
        if force:
            gone = BackendFailure("the model was unloaded while it answered")
            for generation in generations:
                self._claims.revoke(generation, gone)
        for runner in stopping:
            await runner.wait_ended()
        return len(stopping)
