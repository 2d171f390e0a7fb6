"""One runner's line to the supervisor: late news of an older runner is recognised by its number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runnerd.errors import BackendFailure
from runnerd.runner import Runner
from runnerd.scheduler import RunnerKey

if TYPE_CHECKING:
    from runnerd.supervisor.service import Supervisor


class Generation:
    """Tells the supervisor what becomes of one runner, and which one it is."""

    def __init__(self, supervisor: Supervisor, key: RunnerKey, generation: int) -> None:
        self._supervisor = supervisor
        self._key = key
        self._generation = generation

    def ready(self, runner: Runner) -> None:
        self._supervisor.ready(self._key, self._generation)

    def retiring(self, runner: Runner) -> None:
        self._supervisor.retiring(self._generation)

    def failing(self, runner: Runner, failure: BackendFailure) -> None:
        self._supervisor.failing(self._generation, failure)

    def ended(self, runner: Runner, failure: BackendFailure | None) -> None:
        self._supervisor.ended(self._key, self._generation, failure)

    def heard_at(self, runner: Runner) -> float | None:
        return self._supervisor.heard_at(self._generation)

    async def recall(self, runner: Runner) -> None:
        supervisor = self._supervisor
        await supervisor.recollection.recall(runner, supervisor.clients_waiting(self._key))

    async def remember(self, runner: Runner) -> None:
        await self._supervisor.recollection.remember(runner)
