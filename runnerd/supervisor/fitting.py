"""Whether a model fits: what it needs, where that lies, who would have to go, how long its context
can be.  Nothing is started for it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.interface import Backend
from runnerd.errors import InsufficientStorage, RunnerdError
from runnerd.scheduler import Queries
from runnerd.supervisor.fleet import Fleet
from runnerd.supervisor.memory import MemoryAccounts, with_slots
from runnerd.supervisor.preparation import Preparation
from runnerd.units import binary_size, rounded_size

_STEP = 256  # tokens; contexts are told in steps of it
_TRIES = 5  # how often a guess at the longest context is held against the account

Need = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DeviceFit:
    """A device's part in it, in bytes.

    `room` is what is left beside the runners that there are, `most` what is left where they all go.
    """

    id: str
    need: int
    room: int
    most: int


@dataclass(frozen=True, slots=True)
class Fit:
    """How a model fits.

    `context` is in tokens for each of `parallel` requests; `least_parallel` is how few it would
    be started for where memory is short, and what `devices` say is its need then, `need` that for
    all.  `evicts` are the ids of the runners that would make room; None: even without all others
    it is too large.  `longest_context` is for `least_parallel` requests and the whole
    host, `longest_beside` beside what is loaded; None: unknown, or none.
    """

    context: int
    trained_context: int
    parallel: int | None
    least_parallel: int | None
    need: Need
    devices: tuple[DeviceFit, ...]
    evicts: tuple[str, ...] | None
    longest_context: int | None = None
    longest_beside: int | None = None

    @property
    def fits(self) -> str:
        """`now`, `evicting` others, or `no`."""
        if self.evicts is None:
            return "no"
        return "evicting" if self.evicts else "now"

    def sentence(self, name: str, evicts: Sequence[str]) -> str:
        """All of it in words; `evicts` is how the models that would make room are called."""
        need = " and ".join(f"{rounded_size(d.need)} of {d.id}" for d in self.devices if d.need)
        each = f" for each of {self.least_parallel} requests" * ((self.least_parallel or 1) > 1)
        said = f"{name} needs {need or 'hardly any memory'} for {self.context} tokens{each}"
        if self.evicts is None:
            said += ", more than models can have here"
        elif self.evicts:
            said += f"; {', '.join(evicts)} would have to make room"
        else:
            said += ", and fits beside what is loaded"
        if 0 < self.trained_context < self.context:
            said += f". It was trained for {self.trained_context} tokens and gets worse beyond them"
        elif self.longest_context:
            said += f". The longest context that fits here is {self.longest_context} tokens"
            if self.longest_beside and self.longest_beside < self.longest_context:
                said += f", beside what is loaded {self.longest_beside}"
        return said + "."


class Fitting:
    """Reckons with what the scheduler knows and the backends tell."""

    def __init__(
        self,
        scheduler: Queries,
        *,
        memory: MemoryAccounts,
        fleet: Fleet,
        preparation: Preparation,
    ) -> None:
        self._scheduler = scheduler
        self._memory = memory
        self._fleet = fleet
        self._preparation = preparation

    async def fit(
        self,
        backend: Backend,
        model: str,
        configuration: BackendConfiguration,
        mode: BackendMode,
        *,
        trained_context: int,
    ) -> Fit:
        """How a model fits that is started as configured.

        Raises errors.ModelNotFound, InvalidModelFile, EngineFailure as a backend's account, and
        InsufficientStorage for a context that this host could never hold.
        """
        slots: tuple[int | None, ...] = backend.slots(configuration) or (None,)
        most, least = slots[0], slots[-1]
        asks = _Account(self._memory, backend, model, with_slots(configuration, least), mode)
        full = _Account(self._memory, backend, model, with_slots(configuration, most), mode)
        context = backend.context(model, configuration)
        self._refuse_absurd(backend, model, with_slots(configuration, least), mode, context)
        need = await asks.need(None)
        whole = need if most == least else await full.need(None)
        self._preparation.observe()
        room, capacity = self._room(), self._capacity()
        evicts = self._evicts(need, room, capacity)
        ids = None if evicts is None else tuple(evicts)
        longest = await asks.longest(context, need, trained_context, capacity)
        beside = None
        if longest is not None and room != capacity:
            beside = await asks.longest(context, need, trained_context, room)
        devices = tuple(
            DeviceFit(device, need.get(device, 0), room[device], capacity[device])
            for device in capacity
        )
        return Fit(context, trained_context, most, least, whole, devices, ids, longest, beside)

    def _refuse_absurd(
        self,
        backend: Backend,
        model: str,
        configuration: BackendConfiguration,
        mode: BackendMode,
        context: int,
    ) -> None:
        """Leave the engine's own account alone: it takes time for each token of a context."""
        try:
            least = backend.least_memory(model, configuration, mode)
        except RunnerdError:  # the account says what is wrong
            return
        most = sum(device.limit for device in self._memory.devices())
        if self._memory.counts and least > most:
            raise InsufficientStorage(
                f"a context of {context} tokens takes {binary_size(least)}, more than the "
                f"{binary_size(most)} that models can have here: it cannot be loaded",
                should_retry=False,
            )

    def _capacity(self) -> dict[str, int]:
        """What models can have of each device, other programs being what they are."""
        return {
            device.id: max(0, min(device.limit, device.total - others))
            for device, others in self._scheduler.devices()
        }

    def _room(self) -> dict[str, int]:
        """What is left of that beside the runners that there are."""
        room = self._capacity()
        for view in self._scheduler.view():
            for device, amount in view.reserved.items():
                if device in room:
                    room[device] -= amount
        return {device: max(0, amount) for device, amount in room.items()}

    def _evicts(self, need: Need, room: Need, capacity: Need) -> list[str] | None:
        if any(need.get(device, 0) > amount for device, amount in capacity.items()):
            return None
        lack = {
            device: need.get(device, 0) - amount
            for device, amount in room.items()
            if need.get(device, 0) > amount
        }
        generations = self._scheduler.would_evict(lack, time.monotonic())
        if generations is None:
            return None
        runners = [self._fleet.get(generation) for generation in generations]
        return [runner.name for runner in runners if runner is not None]


@dataclass(frozen=True, slots=True)
class _Account:
    """What one model needs with contexts of different lengths."""

    memory: MemoryAccounts
    backend: Backend
    model: str
    configuration: BackendConfiguration
    mode: BackendMode

    async def need(self, context: int | None) -> Need:
        """Bytes per device with so many tokens of context; None: as configured."""
        configuration = self.configuration
        if context is not None:
            configuration = configuration.model_copy(update={"context_size": context})
        return await self.memory.foretell(self.backend.name, self.model, configuration, self.mode)

    async def longest(self, context: int, need: Need, most: int, room: Need) -> int | None:
        """The longest context that fits into some room, None where not even a short one does.

        A cache grows with the context as a line does, so two points say nearly where it ends; the
        guess is then held against the account itself.
        """
        if context <= 0 or most <= 0:
            return None
        whole = await self.need(most)
        if _fits(whole, room):
            return most
        guess = _crossing(context, need, most, whole, room)
        for _ in range(_TRIES):
            guess = guess // _STEP * _STEP
            if guess < _STEP:
                return None
            if _fits(await self.need(guess), room):
                return guess
            guess = int(guess * 0.95)
        return None


def _fits(need: Need, room: Need) -> bool:
    return all(need.get(device, 0) <= amount for device, amount in room.items())


def _crossing(context: int, need: Need, most: int, whole: Need, room: Need) -> int:
    """Where a line through two points leaves the room that there is, of the device where it does
    so first.
    """
    found = float(most)
    for device, amount in room.items():
        rises = whole.get(device, 0) - need.get(device, 0)
        if rises <= 0 or most == context:
            if need.get(device, 0) > amount:
                return 0
            continue
        each = rises / (most - context)
        found = min(found, context + (amount - need.get(device, 0)) / each)
    return max(0, math.floor(found))
