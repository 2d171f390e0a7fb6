"""Starts and stops runners as decided, and tells the scheduler what becomes of them."""

from __future__ import annotations

import logging
import random
import time

from runnerd.backends.interface import EngineFailure
from runnerd.errors import BackendFailure, ModelDeleted
from runnerd.runner import Runner, RunnerTimeouts
from runnerd.scheduler import Decision, RunnerKey, RunnerState, Scheduler, Start, Stop
from runnerd.supervisor.actions import Actions
from runnerd.supervisor.changes import Changes
from runnerd.supervisor.claims import Claims
from runnerd.supervisor.fleet import Fleet
from runnerd.supervisor.launch_specs import LaunchSpecs
from runnerd.supervisor.preparation import Preparation
from runnerd.supervisor.refusals import fault_of
from runnerd.supervisor.session_states import SessionStates
from runnerd.supervisor.sharing import Sharing
from runnerd.supervisor.slot_persistence import SlotPersistence
from runnerd.supervisor.watching import MemoryWatch

log = logging.getLogger(__name__)

_JITTER = (0.8, 1.2)  # of a delay before a failed model is tried again


class Running:
    """Knows what a start takes, and what the news of a runner means for the others.

    It is the `runner.Watcher` of every runner that it starts.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        actions: Actions,
        timeouts: RunnerTimeouts,
        *,
        fleet: Fleet,
        claims: Claims,
        sharing: Sharing,
        launch_specs: LaunchSpecs,
        preparation: Preparation,
        slot_persistence: SlotPersistence,
        session_states: SessionStates,
        watch: MemoryWatch,
        changes: Changes,
    ) -> None:
        self._scheduler = scheduler
        self._actions = actions
        self._timeouts = timeouts
        self._fleet = fleet
        self._claims = claims
        self._sharing = sharing
        self._launch_specs = launch_specs
        self._preparation = preparation
        self._slot_persistence = slot_persistence
        self._session_states = session_states
        self._watch = watch
        self._changes = changes

    # as decided

    def start(self, decision: Start) -> None:
        """Start a runner; returns at once."""
        key, generation = decision.key, decision.generation
        try:
            self._fleet.start(
                key,
                generation,
                self._launch_specs.of(key, slots=decision.slots),
                self._timeouts,
                self,
                ram_limit=self._preparation.ram_limit(generation),
            )
            self._changes.tell(self._fleet[generation], RunnerState.STARTING)
        except Exception as error:  # whatever it is, those who wait are told
            log.exception("a runner of %s could not be made", key.model)
            failure = EngineFailure(f"no runner could be made: {error}", loading=True)
            self._actions.carry_out(self._after(key, generation, failure))

    def stop(self, decision: Stop) -> None:
        """Stop a runner; returns at once."""
        runner = self._fleet[decision.generation]
        self._changes.tell(runner, RunnerState.STOPPING, reason=decision.reason.value)
        runner.stop()

    # what runners say

    def ready(self, runner: Runner) -> None:
        """A runner answers."""
        key, generation = runner.key, runner.generation
        self._changes.tell(runner, RunnerState.READY)
        self._actions.carry_out(self._scheduler.ready(key, generation, time.monotonic()))
        self._watch.begin(key, generation)

    def retiring(self, runner: Runner) -> None:
        """Nobody gets a runner any more; its requests go on."""
        self._scheduler.failing(runner.key, runner.generation)

    def failing(self, runner: Runner, failure: BackendFailure) -> None:
        """A runner will be killed: nobody gets it any more, and its requests are told."""
        self.retiring(runner)
        self._claims.revoke(runner.generation, failure)

    def ended(self, runner: Runner, failure: BackendFailure | None) -> None:
        """A runner's last process is gone."""
        key, generation = runner.key, runner.generation
        if failure is not None:
            if self._fleet.is_orphan(generation) or not self._sharing.is_here(key):
                failure = ModelDeleted("the model was deleted meanwhile")
        decisions = self._after(key, generation, failure)
        if isinstance(failure, ModelDeleted):  # one that comes under its name starts afresh
            self._scheduler.reset(lambda each: each == key)
        self._fleet.remove(generation)
        if failure is None:
            self._changes.tell(runner, RunnerState.STOPPED)
        else:
            self._changes.tell(runner, RunnerState.FAILED, failure=failure.message)
        self._claims.ended(generation)
        try:
            chores = self._session_states.ended(runner)
            self._slot_persistence.ended(runner, chores)
            self._preparation.observe()
        except Exception:  # a favour, and a look: nothing that others have to wait for
            log.exception("after the end of runner %s", runner.name)
        self._actions.carry_out(decisions)
        self._launch_specs.prune(self._in_use)

    def heard_at(self, runner: Runner) -> float | None:
        """When a runner last sent something (`Watcher`), None while it is not in use."""
        return self._claims.heard_at(runner.generation)

    async def recall(self, runner: Runner) -> None:
        """Give a runner back what those who wait for it had evaluated."""
        await self._slot_persistence.recall(runner, self._claims.clients_waiting(runner.key))

    async def remember(self, runner: Runner) -> None:
        """Take down what a runner has evaluated."""
        await self._slot_persistence.remember(runner)
        await self._session_states.remember(runner)

    def _after(
        self, key: RunnerKey, generation: int, failure: BackendFailure | None
    ) -> list[Decision]:
        """Decide what to do after the end of a runner."""
        now = time.monotonic()
        if failure is None:
            return self._scheduler.ended(key, generation, None, now)
        fault, jitter = fault_of(failure), random.uniform(*_JITTER)
        return self._scheduler.ended(key, generation, failure, now, fault=fault, jitter=jitter)

    def _in_use(self) -> set[RunnerKey]:
        """The keys that some runner, waiting request or remembered failure has."""
        keys = self._fleet.keys() | self._scheduler.waiting().keys()
        return keys | {view.key for view in self._scheduler.failures()}
