"""What runners need and what the host has: the scheduler's figures, gathered.

A need is asked of the backend once per model and configuration, for the most slots that a runner
can have and for the fewest, shared by all who wait for the response, and corrected by what a runner
really held as soon as one was loaded.  A backend that cannot tell leaves the need unknown, and
nothing is refused for that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runnerd import tasks, threads
from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.engine_http import engine_process
from runnerd.backends.interface import Backend, RequiredMemory
from runnerd.config import Settings
from runnerd.errors import RunnerdError
from runnerd.resources.activity import foreign_user
from runnerd.runner import Runner
from runnerd.scheduler import DeviceMemory, RunnerKey, Shape

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
    def name(self) -> str: ...
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
    """What one runner was seen to hold: bytes per device, and of mapped files in RAM.  `user`: the
    uid that its engine runs as, None where that is the daemon's.
    """

    devices: Need
    mapped: int = 0
    user: int | None = None


class MemoryAccounts:
    """Knows what runners need of each device, by key, and what the host has.  Without a `host`
    nothing is known of devices."""

    def __init__(
        self, settings: Settings, backends: Mapping[str, Backend], host: HostMemory | None
    ) -> None:
        self.settings = settings
        self._backends = backends
        self._host = host
        self.names: dict[str, str] = {}  # of devices, by id
        self._estimates: dict[RunnerKey, Mapping[int | None, Need]] = {}
        self._seen: dict[tuple[RunnerKey, int | None], Need] = {}
        self._seen_first: dict[tuple[RunnerKey, int | None], Need] = {}
        self._questions: dict[RunnerKey, asyncio.Task[None]] = {}

    @property
    def counts(self) -> bool:
        """Whether needs matter at all."""
        return self._host is not None

    def shapes(self, key: RunnerKey, slots: Sequence[int]) -> tuple[Shape, ...]:
        """Return the shapes in which a runner can be started, that with the most slots first."""
        return tuple(Shape(count, self.known(key, count)) for count in slots or (None,))

    def known(self, key: RunnerKey, slots: int | None = None) -> Need:
        """Bytes per device that a runner with so many slots needs; empty where nothing is known.

        They are as they were seen, else as they were estimated.

        On a GPU what was seen counts: everything is allocated at the load.  In RAM it may still
        grow, since pages count from their first use on, so there the estimate is never lowered.
        """
        estimate = self._estimates.get(key, {}).get(slots, {})
        seen = self._seen.get((key, slots))
        if seen is None:
            return estimate
        need = {name: amount for name, amount in seen.items() if amount > 0}
        if not need.keys() - {RAM}:
            need = {**estimate, **need}
        need[RAM] = max(need.get(RAM, 0), estimate.get(RAM, 0))
        return need

    def foretold(self, key: RunnerKey, slots: int | None) -> Need:
        """Bytes per device that were reckoned with before a runner had worked: as estimated, else
        as first seen.  Unlike what is `known`, this does not grow with what requests make of it.
        """
        return self._estimates.get(key, {}).get(slots) or self._seen_first.get((key, slots), {})

    def asked(self, key: RunnerKey) -> bool:
        """Return whether the backend was asked for a need, and has answered."""
        return key in self._estimates

    async def ask(
        self, key: RunnerKey, configuration: BackendConfiguration, slots: Sequence[int]
    ) -> None:
        """Ask the backend for the need with each number of slots, unless that was done.

        Cancelling leaves the others' question.
        """
        if key in self._estimates:
            return
        question = self._questions.get(key)
        if question is None:
            question = self._questions[key] = tasks.spawn(
                self._ask(key, configuration, slots), name=f"memory {key.model}"
            )
        await asyncio.shield(question)

    async def _ask(
        self, key: RunnerKey, configuration: BackendConfiguration, slots: Sequence[int]
    ) -> None:
        needs: Mapping[int | None, Need] = {}
        try:
            if slots:
                asked = sorted({slots[0], slots[-1]})
                found = await asyncio.gather(
                    *(self._required(key, configuration, count) for count in asked)
                )
                needs = between(dict(zip(asked, found, strict=True)), slots)
            else:
                needs = {None: await self._required(key, configuration, None)}
        except RunnerdError as error:
            log.info("the memory that %s needs is not known: %s", key.model, error.message)
        finally:
            del self._questions[key]
        self._estimates[key] = needs

    async def _required(
        self, key: RunnerKey, configuration: BackendConfiguration, slots: int | None
    ) -> Need:
        return self._need(
            await self._backends[key.backend].required_memory(
                key.model, with_slots(configuration, slots), BackendMode(key.mode)
            )
        )

    async def foretell(
        self, backend: str, model: str, configuration: BackendConfiguration, mode: BackendMode
    ) -> Need:
        """Bytes per device that a runner would need with as few slots as it can have.

        Raises as `Backend.required_memory`.
        """
        kind = self._backends[backend]
        if slots := kind.slots(configuration):
            configuration = with_slots(configuration, slots[-1])
        return self._need(await kind.required_memory(model, configuration, mode))

    async def learn(self, key: RunnerKey, runner: Runner) -> Holding | None:
        """Look at what a ready runner really holds and return it; None where that fails.

        The most that was ever seen counts for the next start: it will come to that again.
        """
        if self._host is None:
            return None
        try:
            if runner.process is None:
                runner.process = await engine_process(runner.engine_socket)
            holding = await threads.run(self._look, self._host, runner.process)
        except OSError as error:
            log.debug("the memory that %s holds cannot be read: %s", runner.name, error)
            return None
        place = key, runner.spec.configuration.parallel
        self._seen_first.setdefault(place, holding.devices)
        most = self._seen.get(place, {})
        seen = {name: max(most.get(name, 0), held) for name, held in holding.devices.items()}
        self._seen[place] = {**most, **seen}
        return holding

    def _look(self, host: HostMemory, pid: int) -> Holding:
        return Holding(host.process_memory([pid]), host.mapped_memory([pid]), foreign_user(pid))

    def forget(self, load: str) -> None:
        """Drop what is known of a load that is no more."""
        for key in [key for key in self._estimates if key.model == load]:
            del self._estimates[key]
        for places in (self._seen, self._seen_first):
            for place in [place for place in places if place[0].model == load]:
                del places[place]

    def devices(self) -> list[DeviceMemory]:
        """Look at the host."""
        if self._host is None:
            return []
        devices = self._host.devices()
        self.names = {device.id: device.name for device in devices}
        return [self._look_at(device) for device in devices]

    def _need(self, required: RequiredMemory) -> Need:
        """Leave out GPUs that this host cannot look at: there is nothing to hold them against."""
        assert self._host is not None
        gpus = {device.id for device in self._host.devices() if device.kind == "gpu"}
        need = {name: amount for name, amount in required.gpu_bytes if name in gpus}
        return {RAM: required.ram_bytes, **need}

    def _look_at(self, device: HostDevice) -> DeviceMemory:
        settings, total = self.settings, device.total_bytes
        reserve = settings.memory_reserve.get(device.id, settings.memory_reserve.get("default", 0))
        share = settings.memory_share.get(device.id)
        most = None if share is None else int(total * share)
        limit = max(0, total - reserve) if most is None else max(0, min(most, total - reserve))
        return DeviceMemory(device.id, total, device.free_bytes, limit, most)


def with_slots(configuration: BackendConfiguration, slots: int | None) -> BackendConfiguration:
    """Return the configuration of a runner that is started with so many slots."""
    return configuration.model_copy(update={"parallel": slots})


def between(asked: Mapping[int, Need], slots: Sequence[int]) -> Mapping[int | None, Need]:
    """Return the needs with all numbers of slots, of which those with the fewest and the most were
    asked for: what a slot takes is the same for each.
    """
    few, most = min(asked), max(asked)
    low, high = asked[few], asked[most]
    if few == most:
        return {few: low}
    return {
        count: {
            name: low.get(name, 0)
            + -(-(high.get(name, 0) - low.get(name, 0)) * (count - few) // (most - few))
            for name in {*low, *high}
        }
        for count in slots
    }
