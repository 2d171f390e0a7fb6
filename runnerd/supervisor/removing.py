"""Models that are deleted: their runners end, and nothing is remembered of them."""

from __future__ import annotations

from runnerd.configurations import Configurations
from runnerd.errors import BackendFailure, Conflict
from runnerd.scheduler import Scheduler
from runnerd.supervisor.configuring import Configuring
from runnerd.supervisor.context_variants import ContextVariants
from runnerd.supervisor.fleet import Fleet
from runnerd.supervisor.launch_specs import LaunchSpecs
from runnerd.supervisor.memory import MemoryAccounts
from runnerd.supervisor.running import Running
from runnerd.supervisor.sharing import Sharing
from runnerd.supervisor.slot_persistence import SlotPersistence


class Removing:
    """What comes before a model's files are deleted, and what after."""

    def __init__(
        self,
        scheduler: Scheduler,
        configurations: Configurations,
        *,
        fleet: Fleet,
        running: Running,
        sharing: Sharing,
        variants: ContextVariants,
        launch_specs: LaunchSpecs,
        memory: MemoryAccounts,
        slot_persistence: SlotPersistence,
        configuring: Configuring,
    ) -> None:
        self._scheduler = scheduler
        self._configurations = configurations
        self._fleet = fleet
        self._running = running
        self._sharing = sharing
        self._variants = variants
        self._launch_specs = launch_specs
        self._memory = memory
        self._slot_persistence = slot_persistence
        self._configuring = configuring

    async def unload_model(self, model: str, *, force: bool) -> None:
        """Stop every runner of a model whose files are to be deleted, and wait until they are gone.

        Raises errors.Conflict when one is in use, unless `force` ends those requests.
        """
        load = self._sharing.load_of(model)
        if self._scheduler.busy(lambda key: key.model == load) and not force:
            raise Conflict("the model is in use; try again later, or delete with force")
        ending = self._fleet.matching(lambda key: key.model == load)
        gone = BackendFailure("the model was unloaded while it answered")
        runners = [self._fleet[generation] for generation in ending]
        for runner in runners:
            self._running.failing(runner, gone)
        for runner in runners:
            runner.stop_at_once()
        for runner in runners:
            await runner.wait_ended()

    async def forget(self, model: str, load: str, *, shared: bool) -> None:
        """Drop what was configured and kept for a deleted model.

        `load` is what its engine was started with; with `shared`, other models have that, too.
        """
        await self._configurations.forget(model)
        self._sharing.forget(model)
        self._launch_specs.forget(load)  # they may be called as the model was
        if shared:
            self._configuring.keep_as_configured()
            return
        self._fleet.orphan(load)
        self._scheduler.reset(lambda key: key.model == load)
        self._memory.forget(load)
        self._variants.forget(load)
        await self._slot_persistence.forget(load)
