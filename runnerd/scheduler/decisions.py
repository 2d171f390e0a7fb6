"""The scheduler's words: what it is asked, what it decides and what it shows.

Everything here is data.  A *ticket* is one request that wants a runner.  A *pool* is all runners of
one key, mostly one; each of them is an *instance*, told apart by its *generation*, a number that is
never used twice, so that a late event of an older one is recognised.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from runnerd.errors import BackendFailure


class RunnerKey(NamedTuple):  # a tuple hashes and compares in C: it is looked up at every request
    """What makes two requests able to share a runner.  `configuration` is its fingerprint."""

    backend: str
    model: str
    mode: str
    configuration: str


class RunnerState(enum.StrEnum):
    """Where a runner is in its life, as every API prints it (see `runner.life` for its table).

    The scheduler itself knows no runner that has stopped or failed; a model that has failed and has
    no runner is shown as `failed`.
    """

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class StopReason(enum.Enum):
    EXPIRED = "expired"
    EVICTED = "evicted"
    UNLOADED = "unloaded"
    ABANDONED = "abandoned"  # everyone who waited for the load has left
    DRAINED = "drained"


class Refusal(enum.Enum):
    QUEUE_FULL = "queue full"
    QUEUE_TIMEOUT = "queue timeout"
    LOAD_FAILED = "load failed"
    FAILING = "failing"  # it failed before, and it is too early to try again
    NO_MEMORY = "no memory"
    OVER_SHARE = "over share"  # more than an owner lets runners have
    UNLOADED = "unloaded"
    DRAINING = "draining"


class Fault(enum.Enum):
    """What kind of failure ended a runner, as far as trying again goes."""

    CRASH = "crash"
    REFUSED = "refused"  # the engine cannot load this: the next try would end the same
    OUT_OF_MEMORY = "out of memory"
    NOT_STARTED = "not started"  # no process was started: trying again costs nothing


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to start an instance: with `slots`, which serve one request each (None: no limit),
    for `need`, bytes per device id, empty when nothing is known.
    """

    slots: int | None = None
    need: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the scheduler knows of a pool.

    `keep_alive` is in seconds (None: the daemon's default).  `need` and `slots` are an instance's
    *shape*, as it is started where there is room for it; `fewer` are shapes with fewer slots for
    where there is not, the most first.  `min_instances` are kept: they are the last to make room,
    and come back; `max_instances` may grow under load.  A *pinned* pool is never evicted and never
    expires.  Pools that have one of their `exclusive_groups` in common are never resident together.
    """

    keep_alive: float | None = None
    need: Mapping[str, int] = field(default_factory=dict)
    slots: int | None = None
    min_instances: int = 0
    max_instances: int = 1
    pinned: bool = False
    exclusive_groups: tuple[str, ...] = ()
    fewer: tuple[Shape, ...] = ()

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Every way to start an instance, that with the most slots first."""
        return Shape(self.slots, self.need), *self.fewer

    def reshaped(self, known: Shape) -> Terms:
        """These terms with what is known of one of their shapes."""
        first, *fewer = (known if shape.slots == known.slots else shape for shape in self.shapes)
        return replace(self, need=first.need, fewer=tuple(fewer))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What holds for all pools.  Times in seconds.

    `capacity` is the number of runners that may exist at once (starting and stopping ones count),
    `queue_length` how many tickets may wait, `queue_timeout` for how long, `keep_alive` how long an
    unused runner stays, unless its terms or the latest lease that named a keep-alive say
    otherwise.  `quantum` is how long a runner in use has before another model can claim its room,
    `overcommit` how many requests per slot an engine gets, 0 for all, `patience` for how long
    people can keep jobs from work (`pauses`).
    """

    capacity: int
    queue_length: int
    queue_timeout: float
    keep_alive: float
    quantum: float = 1.0
    overcommit: float = 2.0
    patience: float = 0.0


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """A device's memory as it was seen, and how much of it runners may take in all; bytes.

    `limit` is where room has to be made: a model that is thought to need more is tried all the same
    once it has the host for itself.  `share` is an owner's word, and refuses it; None: nothing was
    said.
    """

    id: str
    total: int
    free: int
    limit: int
    share: int | None = None


@dataclass(frozen=True, slots=True)
class Start:
    key: RunnerKey
    generation: int
    slots: int | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    key: RunnerKey
    generation: int
    reason: StopReason


class Grant(NamedTuple):
    ticket: int
    key: RunnerKey
    generation: int


@dataclass(frozen=True, slots=True)
class Refuse:
    ticket: int
    refusal: Refusal
    failure: BackendFailure | None = None


Decision = Start | Stop | Grant | Refuse


@dataclass(frozen=True, slots=True)
class RunnerView:
    """A runner as `ps` shows it.  Times are the caller's clock, in seconds; None: never.

    `held` is what it was last seen to hold, None before anybody looked.  `slots` is None where the
    number of requests at a time is not limited; `draining` says that it
    takes no further request because another model's turn has come.
    """

    key: RunnerKey
    generation: int
    state: RunnerState
    leases: int
    waiting: int
    used_at: float
    keep_alive: float
    expires_at: float | None
    reserved: Mapping[str, int]
    held: Mapping[str, int] | None
    slots: int | None
    pinned: bool
    draining: bool


@dataclass(frozen=True, slots=True)
class FailureView:
    """A pool that has failed, has not answered since and has no runner.

    `failures` is how often within ten minutes, `retry_at` when the next try is allowed.
    """

    key: RunnerKey
    failure: BackendFailure
    failures: int
    failed_at: float
    retry_at: float
    refuses: bool
