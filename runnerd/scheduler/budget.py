"""What runners may take of each device, and what is left.

A runner's need is *reserved* before it starts and given back when its last process is gone.  What
other programs use counts too: it is what a device has in use beyond our own runners, as last seen.
While a runner loads nobody can tell how much of its reservation is already in use, so then that
figure is only moved as far as it must be.

Two things that are no memory are counted the same way, so that one rule decides everything: the
number of runners, and the one place of an exclusive group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runnerd.scheduler.decisions import DeviceMemory, Terms

PLACES = "#places"
_GROUP = "#group:"

Amounts = Mapping[str, int]


def claims(terms: Terms, need: Amounts) -> dict[str, int]:
    """Return everything that an instance takes: memory, a place, its group's only place."""
    everything = dict(need)
    everything[PLACES] = 1
    everything |= {_GROUP + group: 1 for group in terms.exclusive_groups}
    return everything


def memory(amounts: Amounts) -> dict[str, int]:
    """Those of `amounts` that are bytes of a device: neither places nor groups."""
    return {name: amount for name, amount in amounts.items() if not name.startswith("#")}


class Budget:
    """Knows the limits.  A device that was never seen has none."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.devices: dict[str, DeviceMemory] = {}
        self._others: dict[str, int] = {}

    def observe(
        self, devices: Iterable[DeviceMemory], *, held: Amounts, uncertain: Amounts
    ) -> None:
        """Note the devices as they are, while our runners surely hold `held`, and up to
        `uncertain` more.
        """
        self.devices = {device.id: device for device in devices}
        for device in self.devices.values():
            used = device.total - device.free
            most = max(0, used - held.get(device.id, 0))
            least = max(0, most - uncertain.get(device.id, 0))
            before = self._others.get(device.id, least)
            self._others[device.id] = min(most, max(least, before))

    def others(self, device: str) -> int:
        """Return the bytes that other programs use."""
        return self._others.get(device, 0)

    @property
    def has_shares(self) -> bool:
        """Whether an owner has said how much of a device runners may have."""
        return any(device.share is not None for device in self.devices.values())

    def over_share(self, amounts: Amounts) -> bool:
        """Return whether an instance alone would take more than an owner lets runners have."""
        return any(
            device.share is not None and amounts.get(device.id, 0) > device.share
            for device in self.devices.values()
        )

    def limit(self, name: str) -> int | None:
        """Return how much runners can have of a device in all, None for no limit."""
        if name == PLACES:
            return self.places
        if name.startswith(_GROUP):
            return 1
        device = self.devices.get(name)
        if device is None:
            return None
        return max(0, min(device.limit, device.total - self._others.get(name, 0)))


class Room:
    """What is free in the course of one round of decisions: now, and when all who go have gone.

    Something may start if it fits now, and also later beside what has been set aside for others
    who came before it.
    """

    def __init__(
        self, budget: Budget, taken: Iterable[Amounts], leaving: Iterable[Amounts]
    ) -> None:
        self._budget = budget
        self._taken: dict[str, int] = {}
        self._relief: dict[str, int] = {}
        for amounts in taken:
            self.take(amounts)
        for amounts in leaving:
            self.expect(amounts)

    def take(self, amounts: Amounts) -> None:
        """Something starts."""
        for name, amount in amounts.items():
            self._taken[name] = self._taken.get(name, 0) + amount

    def expect(self, amounts: Amounts) -> None:
        """Something that is there goes."""
        for name, amount in amounts.items():
            self._relief[name] = self._relief.get(name, 0) + amount

    def set_aside(self, amounts: Amounts) -> None:
        """Keep something free for whoever comes first."""
        for name, amount in amounts.items():
            self._relief[name] = self._relief.get(name, 0) - amount

    def fits(self, amounts: Amounts) -> bool:
        """Return whether something can start."""
        return not self._lack(amounts, {}) and not self.lack(amounts)

    def lack(self, amounts: Amounts) -> dict[str, int]:
        """How much of each name is missing even when all who go have gone; empty for nothing."""
        return self._lack(amounts, self._relief)

    def short(self, amounts: Amounts) -> set[str]:
        """Return the names of what is missing now, or later."""
        return {*self._lack(amounts, {}), *self.lack(amounts)}

    def _lack(self, amounts: Amounts, relief: Amounts) -> dict[str, int]:
        lack: dict[str, int] = {}
        for name, amount in amounts.items():
            limit = self._budget.limit(name)
            if limit is None or amount <= 0:
                continue
            missing = self._taken.get(name, 0) - relief.get(name, 0) + amount - limit
            if missing > 0:
                lack[name] = missing
        return lack
