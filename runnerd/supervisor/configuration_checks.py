"""What can be known of a start before anything is started, or stopped, for it.

A configuration that cannot work here, or not well, is told to whoever sets it.  What a runner needs
at the very least (the cache of its context, which no file can give back) is held against all the
memory of this host: a start beyond that would evict everybody and fail all the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.interface import Backend
from runnerd.configurations import ConfigurationKey
from runnerd.errors import BackendFailure, InsufficientStorage, InvalidConfiguration, RunnerdError
from runnerd.scheduler import RunnerKey
from runnerd.supervisor.memory import MemoryAccounts, with_slots
from runnerd.units import binary_size


class ConfigurationChecks:
    """Holds what is asked for against what there is."""

    def __init__(self, backends: Mapping[str, Backend], memory: MemoryAccounts) -> None:
        self._backends = backends
        self._memory = memory

    async def check(
        self,
        key: ConfigurationKey,
        configuration: BackendConfiguration,
        in_force: BackendConfiguration,
    ) -> None:
        """Raise errors.InvalidConfiguration for what only somebody can want who says so.

        What is as unwise `in_force` was said already.
        """
        backend = self._backends[key.backend]
        configuration = self._least(key.backend, configuration)
        doubts = [backend.doubt(key.model, configuration)]
        if doubts == [backend.doubt(key.model, in_force)]:
            doubts = []
        if self._memory.counts:
            doubts.append(await self._shortage(key, configuration))
        if found := [doubt for doubt in doubts if doubt]:
            raise InvalidConfiguration(
                "; ".join(found) + "; to set it all the same, say --force (in JSON `force: true`)"
            )

    def refuse_absurd(self, key: RunnerKey, configuration: BackendConfiguration) -> None:
        """Raise errors.InsufficientStorage for a runner that this host could never hold."""
        if self._memory.counts:
            mode = BackendMode(key.mode)
            least = self._least(key.backend, configuration)
            account = self._absurd(key.backend, key.model, least, mode)
            if account is not None:
                raise InsufficientStorage(
                    f"unable to load runner: {account}; nothing was evicted for it.  Configure a "
                    "smaller context (`runnerd configure --context-size`)",
                    should_retry=False,
                )

    def _least(self, backend: str, configuration: BackendConfiguration) -> BackendConfiguration:
        """Return the configuration of a runner with as few slots as it can be started with."""
        slots = self._backends[backend].slots(configuration)
        return with_slots(configuration, slots[-1]) if slots else configuration

    def _absurd(
        self, backend: str, model: str, configuration: BackendConfiguration, mode: BackendMode
    ) -> str | None:
        try:
            least = self._backends[backend].least_memory(model, configuration, mode)
            context = self._backends[backend].context(model, configuration)
        except RunnerdError:  # whoever loads it will say what is wrong
            return None
        most = sum(device.limit for device in self._memory.devices())
        if least <= most:
            return None
        slots = self._backends[backend].slots(configuration)
        each = f" for each of {slots[-1]} requests" if slots and slots[-1] > 1 else ""
        return (
            f"a context of {context} tokens{each} takes {binary_size(least)}, more than the "
            f"{binary_size(most)} that models can have here: it cannot be loaded"
        )

    async def _shortage(
        self, key: ConfigurationKey, configuration: BackendConfiguration
    ) -> str | None:
        absurd = self._absurd(key.backend, key.model, configuration, key.mode)
        if absurd is not None:
            return absurd
        try:
            need = await self._memory.foretell(key.backend, key.model, configuration, key.mode)
        except BackendFailure as failure:
            return f"what it would need cannot be told: {failure.message}"
        except RunnerdError:
            return None
        for device in self._memory.devices():
            if need.get(device.id, 0) > device.limit:
                return (
                    f"it would need {binary_size(need[device.id])} of {device.id}, of which models "
                    f"can have {binary_size(device.limit)} here: loading it would evict all other "
                    "models, and fail or be slow"
                )
        return None
