"""All runners of one key, and what is remembered of them between their lives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from runnerd.lru import Lru
from runnerd.scheduler.budget import claims
from runnerd.scheduler.decisions import RunnerKey, RunnerState, Shape, Stop, StopReason, Terms
from runnerd.scheduler.failure_history import FailureHistory
from runnerd.scheduler.pace import Pace
from runnerd.scheduler.sharers import Sharers, most
from runnerd.scheduler.shares import Account, Returns

_PREFIXES = 256  # remembered per instance, for requests that go on where another one ended
_CONVERSATIONS = 64  # that are counted


@dataclass(slots=True)
class Instance:
    """One runner.  `claims` is what is reserved for it, from its start until its processes are
    gone; `slots` how many requests it serves at a time, None without a limit.
    """

    generation: int
    state: RunnerState
    claims: Mapping[str, int]
    started_at: float
    used_at: float
    ready_at: float | None = None
    leases: dict[int, float] = field(default_factory=dict)  # by ticket, when it was granted
    in_background: set[int] = field(default_factory=set)  # those of them that nobody waits for
    draining: bool = False
    failing: bool = False
    held: Mapping[str, int] | None = None  # what it was seen to hold
    slots: int | None = None
    fresh: bool = True  # nobody has used it yet
    pace: Pace = field(init=False)
    _prefixes: Lru[int, None] = field(default_factory=lambda: Lru(_PREFIXES))
    # by the last place of each
    _conversations: Lru[int, None] = field(default_factory=lambda: Lru(_CONVERSATIONS))

    def __post_init__(self) -> None:
        self.pace = Pace(self.slots)

    @property
    def idle(self) -> bool:
        """Whether it is ready and nobody uses it."""
        return self.state is RunnerState.READY and not self.leases

    @property
    def works_for_nobody(self) -> bool:
        """Whether all that use it are in the background."""
        return self.leases.keys() <= self.in_background

    def shared(self, affinity: tuple[int, ...]) -> int:
        """Return how many of a request's prefixes it has seen, the longest one counting."""
        prefixes = self._prefixes
        return next((n for n in range(len(affinity), 0, -1) if affinity[n - 1] in prefixes), 0)

    def remember(self, affinity: tuple[int, ...]) -> None:
        """Note the prefixes of a request that it serves; the oldest are forgotten."""
        for prefix in affinity:
            self._prefixes.note(prefix, None)
            self._conversations.pop(prefix, None)  # it has gone on
        if affinity:
            self._conversations.note(affinity[-1], None)

    @property
    def conversations(self) -> int:
        """How many conversations it has seen, as far as that can be told."""
        return len(self._conversations)


@dataclass(slots=True)
class Pool:
    """The runners of one key.

    `requested_keep_alive` is what the latest lease asked for, `exclusive_host`
    that the next start needs the host for itself (memory ran out at the last one),
    `unloaded_by_owner` that an owner unloaded it,
    `crowded` that a conversation was pushed out of an instance, until another one is started.
    `idle_since` is when the last of its requests ended, None while there are some.
    """

    key: RunnerKey
    terms: Terms = field(default_factory=Terms)
    instances: dict[int, Instance] = field(default_factory=dict)
    failures: FailureHistory = field(default_factory=FailureHistory)
    requested_keep_alive: float | None = None
    exclusive_host: bool = False
    unloaded_by_owner: bool = False
    crowded: bool = False
    load_seconds: float = 0.0
    idle_since: float | None = None
    returns: Returns = field(default_factory=Returns)
    account: Account = field(default_factory=Account)
    sharers: Sharers = field(default_factory=Sharers)

    def claims(self, shape: Shape | None = None) -> dict[str, int]:
        """Bytes per device, and places, that one more instance takes.

        That is in its least shape where none is named.
        """
        return claims(self.terms, (shape or self.terms.shapes[-1]).need)

    def reckon(self, instance: Instance) -> None:
        """Reserve for an instance what its shape takes by the terms as they are now."""
        for shape in self.terms.shapes:
            if shape.slots == instance.slots:
                instance.claims = self.claims(shape)

    def keep_alive(self, default: float) -> float:
        """Return how many seconds an unused instance stays, below zero for ever."""
        if self.terms.pinned:
            return -1.0
        if self.requested_keep_alive is not None:
            return self.requested_keep_alive
        return default if self.terms.keep_alive is None else self.terms.keep_alive

    def expires_at(self, instance: Instance, default: float) -> float | None:
        """Return when an instance is unused for too long, None for never."""
        if not instance.idle:
            return None
        resident = self.terms.min_instances  # mostly none, and then nothing is counted
        if resident and self._alive() <= resident:
            return None
        keep_alive = self.keep_alive(default)
        return None if keep_alive < 0 else instance.used_at + keep_alive

    @property
    def lacks_residents(self) -> bool:
        """Whether it has fewer instances than an owner wants to have resident."""
        return len(self.instances) < self.terms.min_instances and not self.unloaded_by_owner

    @property
    def may_shrink(self) -> bool:
        """Whether it has more instances than an owner wants to have resident."""
        return not self.terms.min_instances or self._alive() > self.terms.min_instances

    def _alive(self) -> int:
        return sum(
            instance.state is not RunnerState.STOPPING for instance in self.instances.values()
        )

    def alive(self) -> list[Instance]:
        """Return the instances that serve or will."""
        return [item for item in self.instances.values() if item.state is not RunnerState.STOPPING]

    def serving(self) -> bool:
        """Return whether an instance takes requests, as soon as it has room."""
        for instance in self.instances.values():
            if instance.state is RunnerState.READY and not instance.draining:
                return True
        return False

    def choose(
        self,
        affinity: tuple[int, ...],
        overcommit: float,
        *,
        client: str = "",
        now: float = 0.0,
        background: bool = False,
        long: bool = False,
    ) -> Instance | None:
        """Return the instance for a request of a client, None while all are full for that.

        For one in the `background` an instance is full when it has one slot left, which is for
        whoever comes next and waits.  Who shares the pool leaves room for others (`sharers`).  One
        that may take `long` gets nothing for the quick ones before it.

        The one that has seen most of what it goes on with, if that has a slot for it; else the
        least busy, one that nobody has used yet, and the one that was used least recently: its
        cache is worth least.
        """
        best: Instance | None = None
        sharers = self.sharers
        shared = client in sharers.held and not background and now < sharers.shared_until(client)
        if shared and overcommit and self._is_up(client, now, long=long):
            return None
        for instance in self.instances.values():
            if instance.state is not RunnerState.READY or instance.draining:
                continue
            slots = instance.slots
            if background:
                if slots is not None and len(instance.leases) >= max(1, slots - 1):
                    continue
            elif slots is not None and overcommit:
                factor = overcommit
                if shared and factor > 1.0 and (long or instance.pace.seconds(now) is None):
                    factor = 1.0
                places, busy = int(slots * factor) or 1, len(instance.leases)
                if busy >= places and (long or busy >= instance.pace.places(places, now)):
                    continue
            if best is None or self._rank(instance, affinity) < self._rank(best, affinity):
                best = instance
        return best

    def holds_back(self, client: str, now: float, *, long: bool) -> bool:
        """Return whether a client has as much of the pool as it may have beside others."""
        return self._is_shared(client, now) and self._is_up(client, now, long=long)

    def _is_shared(self, client: str, now: float) -> bool:
        """Return whether a client holds places that others may want; who holds none is not
        limited.
        """
        sharers = self.sharers
        return client in sharers.held and now < sharers.shared_until(client)

    def _is_up(self, client: str, now: float, *, long: bool) -> bool:
        return self.sharers.held.get(client, 0) >= self._most_of_one(now, long=long)

    def _most_of_one(self, now: float, *, long: bool) -> float:
        """How many places one client may hold of a pool that it shares."""
        slots = 0
        for instance in self.instances.values():
            if instance.state is RunnerState.READY and not instance.draining:
                slots_of_it, seconds = instance.slots, instance.pace.seconds(now)
                if slots_of_it is None or (seconds is not None and not long):
                    return math.inf
                slots += slots_of_it
        return most(slots) if slots else math.inf

    def _rank(self, instance: Instance, affinity: tuple[int, ...]) -> tuple[int, int, bool, float]:
        busy = len(instance.leases)
        full = instance.slots is not None and busy >= instance.slots
        shared = 0 if full or not affinity else instance.shared(affinity)
        return -shared, busy, not instance.fresh, instance.used_at

    def crowds(self, instance: Instance, affinity: tuple[int, ...]) -> bool:
        """Return whether a request that gets `instance` pushes another conversation out of it, and
        one more instance may be started so that the next one need not.
        """
        slots = instance.slots
        if not affinity or slots is None or len(self.instances) >= self.terms.max_instances:
            return False
        if instance.conversations < slots or instance.shared(affinity):
            return False
        return all(item.state is RunnerState.READY for item in self.alive())

    def pressed(self, waiting: int) -> bool:
        """Return whether there is more to do than there are slots, and another instance may be
        started.
        """
        if self.terms.slots is None or len(self.instances) >= self.terms.max_instances:
            return False
        alive = self.alive()
        if not alive or any(item.state is not RunnerState.READY for item in alive):
            return False
        slots = sum(item.slots or 0 for item in alive)
        return waiting + sum(len(item.leases) for item in alive) > slots

    def came(self, now: float, loaded_at: float, client: str = "") -> bool:
        """A request came, of a client or (empty) in the background; return whether the pool's
        clients had been away.

        Who comes back before anybody was loaded in its stead (`loaded_at` is when somebody was) was
        not away.  Later it may be the very client that had to wait for the other model.
        """
        self.unloaded_by_owner = False
        if client:
            self.sharers.came(client, now)
        if self.idle_since is None:
            return True
        pause, self.idle_since = now - self.idle_since, None
        evicted_at, self.account.evicted_at = self.account.evicted_at, None
        if evicted_at is not None and loaded_at > evicted_at:
            pause = math.inf
        if self.load_seconds:
            self.returns.came(pause, self.load_seconds)
        return pause >= self.load_seconds

    def loaded_in(self, seconds: float) -> None:
        """An instance is ready: learn how long loads take.  One slow load is no rule."""
        known = self.load_seconds
        self.load_seconds = (known + seconds) / 2 if known else seconds

    def hopeful_until(self, instance: Instance) -> float:
        """Return until when an idle instance had better stay for a client that comes back."""
        return instance.used_at + self.returns.worth_waiting(self.load_seconds)


def instances(pools: Mapping[RunnerKey, Pool]) -> Iterator[tuple[Pool, Instance]]:
    """Yield every instance of every pool."""
    for pool in pools.values():
        for instance in pool.instances.values():
            yield pool, instance


def stop(pool: Pool, instance: Instance, reason: StopReason) -> Stop:
    """Let an instance go."""
    instance.state = RunnerState.STOPPING
    return Stop(pool.key, instance.generation, reason)
