"""What runners need and what the host has: the scheduler's figures, gathered.

A need is asked of the backend once per model and configuration, shared by all who wait for the
answer, and replaced by what a runner really held as soon as one was loaded.  A backend that cannot
tell leaves the need unknown, and nothing is refused for that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from runnerd import tasks
from runnerd.backends.interface import Backend, BackendConfiguration, RequiredMemory
from runnerd.config import Settings
from runnerd.errors import RunnerdError
from runnerd.scheduler import DeviceMemory, RunnerKey

log = logging.getLogger(__name__)

RAM = "ram"

Need = Mapping[str, int]


class HostDevice(Protocol):
    """A device's memory as it is now, in bytes."""

    @property
    def id(self) -> str: ...
    @property
    def total_bytes(self) -> int: ...
    @property
    def free_bytes(self) -> int: ...


class HostMemory(Protocol):
    """Looks at the host."""

    def devices(self) -> Sequence[HostDevice]:
        """Return the devices, live and cheaply."""
        ...


class MemoryAccounts:
    """Knows needs by key, and looks at the host.  `host` None: nothing is known of devices."""

    def __init__(
        self, settings: Settings, backends: Mapping[str, Backend], host: HostMemory | None
    ) -> None:
        self.settings = settings
        self._backends = backends
        self._host = host
        self._needs: dict[RunnerKey, Need] = {}
        self._questions: dict[RunnerKey, asyncio.Task[Need]] = {}

    @property
    def counts(self) -> bool:
        """Whether needs matter at all."""
        return self._host is not None

    def known(self, key: RunnerKey) -> Need | None:
        """Return a need that was asked for or learned before."""
        return self._needs.get(key)

    async def ask(self, key: RunnerKey, configuration: BackendConfiguration) -> Need:
        """Return a need; empty where it cannot be told.  Cancelling leaves the others' question."""
        if (known := self._needs.get(key)) is not None:
            return known
        question = self._questions.get(key)
        if question is None:
            question = self._questions[key] = tasks.spawn(
                self._ask(key, configuration), name=f"memory {key.model}"
            )
        return await asyncio.shield(question)

    async def _ask(self, key: RunnerKey, configuration: BackendConfiguration) -> Need:
        try:
            required = await self._backends[key.backend].required_memory(key.model, configuration)
            need = _need(required)
        except RunnerdError as error:
            log.info("the memory that %s needs is not known: %s", key.model, error.message)
            need = {}
        finally:
            del self._questions[key]
        return self._needs.setdefault(key, need)

    def learn(self, key: RunnerKey, held: Need) -> None:
        """Note what a runner really holds."""
        self._needs[key] = held

    def forget(self, model: str) -> None:
        """Drop what is known of a deleted model."""
        for key in [key for key in self._needs if key.model == model]:
            del self._needs[key]

    def devices(self) -> list[DeviceMemory]:
        """Look at the host."""
        if self._host is None:
            return []
        return [
            DeviceMemory(device.id, device.total_bytes, device.free_bytes, self._limit(device))
            for device in self._host.devices()
        ]

    def _limit(self, device: HostDevice) -> int:
        settings = self.settings
        share = settings.memory_share.get(device.id, 1.0)
        reserve = settings.memory_reserve.get(device.id, settings.memory_reserve.get("default", 0))
        return max(0, int(device.total_bytes * share) - reserve)


def _need(required: RequiredMemory) -> Need:
    return {RAM: required.ram_bytes}
