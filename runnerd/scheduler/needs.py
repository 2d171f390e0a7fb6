"""What the scheduler is told of models and of the host's memory: it counts from then on.

Nothing is decided in here; the next event is decided with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from runnerd.scheduler.budget import memory
from runnerd.scheduler.decisions import DeviceMemory, RunnerKey, RunnerState, Shape, Terms
from runnerd.scheduler.pool import instances
from runnerd.scheduler.queries import Queries


class Needs(Queries):
    """The scheduler, for those who tell it what is known."""

    def set_terms(self, key: RunnerKey, terms: Terms) -> None:
        """Say what is known of a pool; it counts from the next decision on.

        To be said before every request that may have to wait: a pool of which nothing is left is
        forgotten, terms and all.
        """
        self._books.pool(key).terms = terms

    def observe(self, devices: Iterable[DeviceMemory]) -> None:
        """Note the memory of the devices as it is now."""
        held: dict[str, int] = {}
        uncertain: dict[str, int] = {}
        for _, instance in instances(self._books.pools):
            sure = instance.state is RunnerState.READY
            amounts = memory(instance.claims) if instance.held is None else instance.held
            for name, amount in amounts.items():
                sums = held if sure else uncertain
                sums[name] = sums.get(name, 0) + amount
        self._books.budget.observe(devices, held=held, uncertain=uncertain)

    def estimated(
        self, key: RunnerKey, need: Mapping[str, int], fewer: tuple[Shape, ...] = ()
    ) -> None:
        """Note what each of a pool's instances is to be reckoned with, also those that are there:
        they may have been started without knowing.  `need` and `fewer` are as in the terms.
        """
        pool = self._books.pools.get(key)
        if pool is not None:
            pool.terms = replace(pool.terms, need=dict(need), fewer=fewer)
            for instance in pool.instances.values():
                pool.reckon(instance)

    def learned(
        self,
        key: RunnerKey,
        generation: int,
        need: Mapping[str, int],
        held: Mapping[str, int] | None = None,
    ) -> None:
        """Note what a ready runner holds now, and what is to be reckoned with from now on.

        `held` is what it takes of the devices' free memory, `need` what it may come to: it replaces
        the estimate for an instance of its shape.
        """
        found = self._books.find(key, generation)
        if found is not None and found[1].state is RunnerState.READY:
            pool, instance = found
            pool.terms = pool.terms.reshaped(Shape(instance.slots, dict(need)))
            pool.reckon(instance)
            instance.held = held

    def reset(self, matches: Callable[[RunnerKey], bool]) -> None:
        """Forget the failures of matching pools: an owner says that they may be tried again."""
        for pool in self._books.pools.values():
            if matches(pool.key):
                pool.failures.clear()
