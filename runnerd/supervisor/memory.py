"""What runners need and what the host has: the scheduler's figures, gathered.

A need is asked of the backend once per model and configuration, shared by all who wait for the
answer, and corrected by what a runner really held as soon as one was loaded.  It is not asked for
a model that has the host for itself: nothing hangs on it then.  A backend that cannot
tell leaves the need unknown, and nothing is refused for that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runnerd import tasks
from runnerd.backends.interface import (
    Backend,
    BackendConfiguration,
    BackendMode,
    RequiredMemory,
)
from runnerd.config import Settings
from runnerd.errors import RunnerdError
from runnerd.runner import Runner
from runnerd.scheduler import DeviceMemory, RunnerKey
from runnerd.sockets.peer import peer_credentials

log = logging.getLogger(__name__)

RAM = "ram"

Need = Mapping[str, int]


class HostDevice(Protocol):
    """A device's memory as it is now, in bytes."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def total_bytes(self) -> int: ...
    @property
    def free_bytes(self) -> int: ...


class HostMemory(Protocol):
    """Looks at the host."""

    def devices(self) -> Sequence[HostDevice]:
        """Return the devices, live and cheaply."""
        ...

    def process_memory(self, pids: Sequence[int]) -> Mapping[str, int]:
        """Return the bytes per device that processes and their children really hold.

        May block: called in a thread.
        """
        ...

    def mapped_memory(self, pids: Sequence[int]) -> int:
        """Return the bytes of mapped files that are in RAM for processes.  May block, too."""
        ...


@dataclass(frozen=True, slots=True)
class Holding:
    """What one runner was seen to hold: bytes per device, and of mapped files in RAM."""

    devices: Need
    mapped: int = 0


class MemoryAccounts:
    """Knows needs by key, and looks at the host.  `host` None: nothing is known of devices."""

    def __init__(
        self, settings: Settings, backends: Mapping[str, Backend], host: HostMemory | None
    ) -> None:
        self.settings = settings
        self._backends = backends
        self._host = host
        self._estimates: dict[RunnerKey, Need] = {}
        self._seen: dict[RunnerKey, Need] = {}
        self._questions: dict[RunnerKey, asyncio.Task[None]] = {}

    @property
    def counts(self) -> bool:
        """Whether needs matter at all."""
        return self._host is not None

    def known(self, key: RunnerKey) -> Need:
        """Return what is known of a need: what was seen, else what was estimated; empty for none.

        On a GPU what was seen counts: everything is allocated at the load.  In RAM it may still
        grow, since pages count from their first use on, so there the estimate is never lowered.
        """
        estimate, seen = self._estimates.get(key, {}), self._seen.get(key)
        if seen is None:
            return estimate
        need = {name: amount for name, amount in seen.items() if amount > 0}
        if not need.keys() - {RAM}:
            need = {**estimate, **need}
        need[RAM] = max(need.get(RAM, 0), estimate.get(RAM, 0))
        return need

    def asked(self, key: RunnerKey) -> bool:
        """Return whether the backend was asked for a need, and has answered."""
        return key in self._estimates

    async def ask(self, key: RunnerKey, configuration: BackendConfiguration) -> None:
        """Ask the backend for a need, unless that was done.  Cancelling leaves the others'
        question.
        """
        if key in self._estimates:
            return
        question = self._questions.get(key)
        if question is None:
            question = self._questions[key] = tasks.spawn(
                self._ask(key, configuration), name=f"memory {key.model}"
            )
        await asyncio.shield(question)

    async def _ask(self, key: RunnerKey, configuration: BackendConfiguration) -> None:
        need: Need = {}
        try:
            required = await self._backends[key.backend].required_memory(
                key.model, configuration, BackendMode(key.mode)
            )
            need = self._need(required)
        except RunnerdError as error:
            log.info("the memory that %s needs is not known: %s", key.model, error.message)
        finally:
            del self._questions[key]
        self._estimates[key] = need

    async def foretell(
        self, backend: str, model: str, configuration: BackendConfiguration, mode: BackendMode
    ) -> Need:
        """Return what a runner would need; raises what the backend raises."""
        return self._need(await self._backends[backend].required_memory(model, configuration, mode))

    async def learn(self, key: RunnerKey, runner: Runner) -> Holding | None:
        """Look at what a ready runner really holds and return it; None where that fails.

        The most that was ever seen counts for the next start: it will come to that again.
        """
        if self._host is None:
            return None
        try:
            if runner.process is None:
                runner.process = await engine_process(runner.engine_socket)
            holding = await asyncio.to_thread(self._look, self._host, runner.process)
        except OSError as error:
            log.debug("what %s holds cannot be seen: %s", runner.name, error)
            return None
        most = self._seen.get(key, {})
        seen = {name: max(most.get(name, 0), held) for name, held in holding.devices.items()}
        self._seen[key] = {**most, **seen}
        return holding

    def _look(self, host: HostMemory, pid: int) -> Holding:
        return Holding(host.process_memory([pid]), host.mapped_memory([pid]))

    def forget(self, load: str) -> None:
        """Drop what is known of a load that is no more."""
        for needs in (self._estimates, self._seen):
            for key in [key for key in needs if key.model == load]:
                del needs[key]

    def devices(self) -> list[DeviceMemory]:
        """Look at the host."""
        if self._host is None:
            return []
        return [
            DeviceMemory(device.id, device.total_bytes, device.free_bytes, self._limit(device))
            for device in self._host.devices()
        ]

    def _need(self, required: RequiredMemory) -> Need:
        """Leave out GPUs that this host cannot look at: there is nothing to hold them against."""
        assert self._host is not None
        gpus = {device.id for device in self._host.devices() if device.kind == "gpu"}
        need = {name: amount for name, amount in required.gpu_bytes if name in gpus}
        return {RAM: required.ram_bytes, **need}

    def _limit(self, device: HostDevice) -> int:
        settings = self.settings
        share = settings.memory_share.get(device.id, 1.0)
        reserve = settings.memory_reserve.get(device.id, settings.memory_reserve.get("default", 0))
        return max(0, int(device.total_bytes * share) - reserve)


async def engine_process(socket: Path) -> int:
    """Return the id of the process that listens on a Unix socket.  Raises OSError."""
    _, writer = await asyncio.open_unix_connection(str(socket))
    try:
        listener = peer_credentials(writer.get_extra_info("socket"))
    finally:
        writer.close()
    if listener is None or not listener.pid:
        raise OSError("its process cannot be known")
    return listener.pid
