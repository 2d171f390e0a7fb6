"""What the scheduler has to know before it decides about a model: its terms, its need, the host."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping

from runnerd.backends.interface import Backend
from runnerd.backends.limits import follow
from runnerd.scheduler import RunnerKey, Scheduler, Terms
from runnerd.supervisor.configuration_checks import ConfigurationChecks
from runnerd.supervisor.fleet import Fleet
from runnerd.supervisor.launch_specs import LaunchSpecs
from runnerd.supervisor.memory import RAM, MemoryAccounts
from runnerd.supervisor.sharing import Sharing

log = logging.getLogger(__name__)

# A template that runs away while its model loads stops there, and not at the host's end.
_TIMES, _BESIDE = 3, 2 * 2**30  # accounts of encoders were wrong by 2.2
_UNKNOWN = 3, 4
_LOOK_INTERVAL = 0.05  # seconds between looks at the host's memory


class Preparation:
    """Tells the scheduler what configurations, backends and the host say."""

    def __init__(
        self,
        scheduler: Scheduler,
        backends: Mapping[str, Backend],
        sharing: Sharing,
        *,
        memory: MemoryAccounts,
        launch_specs: LaunchSpecs,
        fleet: Fleet,
        checks: ConfigurationChecks,
    ) -> None:
        self._scheduler = scheduler
        self._backends = backends
        self._sharing = sharing
        self._memory = memory
        self._launch_specs = launch_specs
        self._fleet = fleet
        self._checks = checks
        self._observed_at = -math.inf

    async def prepare(self, key: RunnerKey, model_ref: str | None, *, shares: bool) -> None:
        """Know what to start and on what terms, should the scheduler decide to.

        What a model needs is asked where it has to share the host, where it can be started with
        more slots or fewer, and where an owner limits what it may have.
        """
        self._checks.refuse_absurd(key, self._launch_specs.of(key, model_ref).configuration)
        matters = self._fleet or shares or self._memory.settings.memory_share
        if self._memory.counts and (matters or len(self._slots(key)) > 1):
            await self._estimate(key)
        self._scheduler.set_terms(key, self.terms(key))
        self.observe()

    async def _estimate(self, wanted: RunnerKey) -> None:
        """Have the need of a model, and of all that are there."""
        while unknown := [
            key for key in (wanted, *self._fleet.keys()) if not self._memory.asked(key)
        ]:
            for key in unknown:
                slots = self._slots(key)
                await self._memory.ask(key, self._launch_specs.of(key).configuration, slots)
                first, *fewer = self._memory.shapes(key, slots)
                self._scheduler.estimated(key, first.need, tuple(fewer))

    def observe(self, *, anew: bool = False) -> None:
        """Look at the host's memory, unless the last look is of this moment."""
        now = time.monotonic()
        if anew or now - self._observed_at >= _LOOK_INTERVAL:
            self._observed_at = now
            try:
                self._scheduler.observe(self._memory.devices())
            except OSError as error:  # no descriptor for a look: the last one holds
                log.warning("the host's memory cannot be looked at: %s", error.strerror)

    def ram_limit(self, generation: int) -> int | None:
        """The RAM that a runner can come to, from its first moment: what was foretold for it, and
        of what nobody else has reserved as much more as an account may be wrong by.  Where nothing
        is known of it, most of what is free now.

        What requests make it hold is no reason to allow it more.
        """
        ram = [(dev, others) for dev, others in self._scheduler.devices() if dev.id == RAM]
        if not ram:
            return None
        device, others = ram[0]
        need, taken = None, 0
        for view in self._scheduler.view():
            if view.generation == generation:
                need = self._memory.foretold(view.key, view.slots).get(RAM)
            else:
                taken += view.reserved.get(RAM, 0)
        most = max(0, min(device.limit, device.total - others) - taken)
        if need is None:
            return min(most, device.free // _UNKNOWN[1] * _UNKNOWN[0])
        return max(need, min(most, _TIMES * need + _BESIDE))

    def limit_engines(self) -> None:
        """Let the limits of running engines follow what is reserved, for them and for others."""
        for view in self._scheduler.view():
            runner = self._fleet.get(view.generation)
            limit = self.ram_limit(view.generation)
            if runner is not None and runner.process is not None and limit is not None:
                follow(runner.process, limit)

    def renew_terms(self) -> None:
        """Tell the terms of the runners that are there as their models are configured now."""
        for key in self._fleet.keys():
            self._scheduler.set_terms(key, self.terms(key))

    def terms(self, key: RunnerKey) -> Terms:
        """Return the terms of a key as its models are configured now."""
        kept = self._sharing.kept(key)
        first, *fewer = self._memory.shapes(key, self._slots(key))
        return Terms(
            keep_alive=kept.keep_alive,
            need=first.need,
            slots=first.slots,
            fewer=tuple(fewer),
            min_instances=kept.min_instances,
            max_instances=kept.max_instances,
            pinned=kept.pinned,
            exclusive_groups=kept.exclusive_groups,
        )

    def _slots(self, key: RunnerKey) -> tuple[int, ...]:
        """Return how many slots a runner can have, the most first; nothing for no limit."""
        return self._backends[key.backend].slots(self._launch_specs.of(key).configuration)
