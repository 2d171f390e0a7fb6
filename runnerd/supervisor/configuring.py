"""What owners configure, brought into force: among what runs, and by loading what is resident."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

from runnerd.backends.configuration import BackendMode
from runnerd.configurations import ConfigurationKey, Configurations
from runnerd.errors import Conflict, Unconfirmed
from runnerd.scheduler import RunnerKey, Scheduler
from runnerd.supervisor.actions import Actions
from runnerd.supervisor.claims import Claims
from runnerd.supervisor.configuration_checks import ConfigurationChecks
from runnerd.supervisor.keys import Keys
from runnerd.supervisor.launch_specs import LaunchSpecs
from runnerd.supervisor.preparation import Preparation
from runnerd.supervisor.sharing import Sharing
from runnerd.supervisor.unloading import Unloading


class Configuring:
    """Changes configurations, and lets runners follow them."""

    def __init__(
        self,
        scheduler: Scheduler,
        actions: Actions,
        configurations: Configurations,
        *,
        keys: Keys,
        claims: Claims,
        sharing: Sharing,
        launch_specs: LaunchSpecs,
        checks: ConfigurationChecks,
        preparation: Preparation,
        unloading: Unloading,
    ) -> None:
        self._scheduler = scheduler
        self._actions = actions
        self._configurations = configurations
        self._keys = keys
        self._claims = claims
        self._sharing = sharing
        self._launch_specs = launch_specs
        self._checks = checks
        self._preparation = preparation
        self._unloading = unloading

    async def configure(
        self, key: ConfigurationKey, changes: dict[str, object], *, force: bool = False
    ) -> None:
        """Change a model's configuration; an idle runner that has the old one is stopped.

        Raises errors.InvalidConfiguration, also for what is unwise or cannot be had here unless it
        is to be done by `force`; Conflict when such a runner is in use.
        """
        backend = self._keys.backend(key.backend)
        configuration = self._configurations.merged(key, changes)
        await backend.check_configuration(key.model, configuration, key.mode)
        in_force, fingerprint = self._configurations.effective(key.backend, key.model, key.mode)
        if configuration.fingerprint() == fingerprint:
            await self._set(key, changes, then=partial(self._keep, key))
            return

        if not force:
            await self._checks.check(key, configuration, in_force)
        load = self._sharing.load_of(key.model)

        def affected(runner: RunnerKey) -> bool:
            return (
                runner.backend == key.backend
                and runner.model == load
                and (runner.mode == key.mode.value or key.mode is BackendMode.COMPLETION)
                and not self._sharing.is_wanted(runner, but=key.model)
            )

        if self._scheduler.busy(affected):
            raise Conflict("runner already active: unload the model, or wait until it is idle")
        await self._set(key, changes, then=partial(self._restart, affected))

    async def _set(
        self,
        key: ConfigurationKey,
        changes: dict[str, object],
        *,
        then: Callable[[], Awaitable[None]],
    ) -> None:
        """Store a change, and let runners follow it where it is in force.

        Raises errors.StorageFailure; what is in force and only not confirmed by the
        disk (errors.Unconfirmed) is followed as well.
        """
        try:
            await self._configurations.set(key, changes)
        except Unconfirmed:
            await then()
            raise
        await then()

    async def configure_name(self, key: ConfigurationKey, changes: dict[str, object]) -> None:
        """Configure a name whose model is not here, for when it is.

        Raises errors.InvalidConfiguration.
        """
        configuration = self._configurations.merged(key, changes)
        backend = self._keys.backend(key.backend)
        await backend.check_configuration(key.model, configuration, key.mode)
        await self._configurations.set(key, changes)

    async def _keep(self, key: ConfigurationKey) -> None:
        """Let runners that may stay be kept as is configured now."""
        # What is preloaded counts from the next start on.
        self._launch_specs.forget(self._sharing.load_of(key.model))
        self.keep_as_configured()
        await self.make_resident()

    async def _restart(self, affected: Callable[[RunnerKey], bool]) -> None:
        """Stop idle runners that have another configuration."""
        await self._unloading.stop_idle(affected)
        await self.make_resident()

    async def make_resident(self) -> None:
        """Start what owners want to have loaded (`min_instances`), as far as it fits; does not
        wait for the loads.
        """
        backends = self._keys.backends
        for stored, configuration in self._configurations.list():
            if configuration.min_instances and stored.backend in backends:
                key = self._keys.key(backends[stored.backend], stored.model, stored.mode)
                await self._preparation.prepare(key, None, shares=self._claims.waited_for)
        self._actions.carry_out(self._scheduler.ensure(time.monotonic()))

    def keep_as_configured(self) -> None:
        """Let the runners that are there live as long as is configured now."""
        self._preparation.renew_terms()
        now = time.monotonic()
        self._actions.carry_out([*self._scheduler.tick(now), *self._scheduler.ensure(now)])
