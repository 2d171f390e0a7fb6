"""Decides who gets which runner, what is started and what is stopped.  Decides, and nothing else.

Events go in as method calls with the present time; decisions come out as a list, to be carried out
by the supervisor in order.  There is no clock, no loop and no logging in here, so that every
behaviour can be tested as a table of events and decisions.

A *ticket* is one request that wants a runner.  It is granted (a *lease*), refused, or withdrawn by
its owner; it never stays unanswered: whatever ends a runner answers all who wait for it.

    runner state   request        release          ready    ended               unload / expiry
    (none)         Start, wait    -                -        -                   -
    STARTING       wait           -                grant    refuse all waiting  Stop, refuse waiting
    READY          Grant          idle clock runs  -        forget              Stop when no lease
    STOPPING       wait           -                -        Start if wanted     -

A runner that has no lease and nobody waiting expires after its keep-alive; when room is needed the
one that was used least recently is evicted, never one with a lease.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from runnerd.durations import FOREVER as FOREVER
from runnerd.errors import BackendFailure


class RunnerKey(NamedTuple):  # a tuple hashes and compares in C: it is looked up at every request
    """What makes two requests able to share a runner.  `configuration` is its fingerprint."""

    backend: str
    model: str
    mode: str
    configuration: str


class State(enum.Enum):
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


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
    UNLOADED = "unloaded"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Start:
    """Start a runner.  `generation` counts starts, so that late events of an older one are
    recognised.
    """

    key: RunnerKey
    generation: int


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


@dataclass(slots=True)
class _Runner:
    generation: int
    state: State
    used_at: float
    keep_alive: float | None = None  # what the latest lease that named one asked for
    leases: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Waiting:
    key: RunnerKey
    since: float
    keep_alive: float | None


@dataclass(frozen=True, slots=True)
class RunnerView:
    """A runner as `ps` shows it.  Times are the caller's clock, in seconds; None: never."""

    key: RunnerKey
    generation: int
    state: State
    leases: int
    waiting: int
    used_at: float
    keep_alive: float
    expires_at: float | None


class Scheduler:
    """Owns the list of runners, the leases on them and the queue of those who wait.

    `capacity` is the number of runners that may exist at once (starting and stopping ones count),
    `queue_length` how many tickets may wait, `queue_timeout` for how many seconds, `keep_alive` for
    how many seconds an unused runner stays: unless its model is configured otherwise
    (`set_keep_alive`), or the latest lease that named a keep-alive asked for another one.
    """

    def __init__(
        self, *, capacity: int, queue_length: int, queue_timeout: float, keep_alive: float
    ) -> None:
        self._capacity = capacity
        self._queue_length = queue_length
        self._queue_timeout = queue_timeout
        self._keep_alive = keep_alive
        self._keep_alives: dict[RunnerKey, float] = {}
        self._runners: dict[RunnerKey, _Runner] = {}
        self._waiting: dict[int, _Waiting] = {}  # in order of arrival
        self._granted: dict[int, RunnerKey] = {}
        self._generation = 0
        self._draining = False

    # requests

    def request(
        self, ticket: int, key: RunnerKey, now: float, *, keep_alive: float | None = None
    ) -> list[Decision]:
        """A request wants a runner for `key`, and perhaps that it stays `keep_alive` seconds."""
        if self._draining:
            return [Refuse(ticket, Refusal.DRAINING)]
        runner = self._runners.get(key)
        if runner is not None and runner.state is State.READY:
            return [self._grant(ticket, key, runner, now, keep_alive)]
        if len(self._waiting) >= self._queue_length:
            return [Refuse(ticket, Refusal.QUEUE_FULL)]
        self._waiting[ticket] = _Waiting(key, now, keep_alive)
        return self._make_room_and_start(now)

    def withdraw(self, ticket: int, now: float) -> list[Decision]:
        """The owner of a waiting ticket has left.  A load that nobody waits for any more is
        stopped.
        """
        waiting = self._waiting.pop(ticket, None)
        if waiting is None:
            return self.release(ticket, now)
        runner = self._runners.get(waiting.key)
        decisions: list[Decision] = []
        if runner is not None and runner.state is State.STARTING and not self._wanted(waiting.key):
            decisions.append(self._stop(waiting.key, runner, StopReason.ABANDONED))
        return decisions

    def release(self, ticket: int, now: float) -> list[Decision]:
        """A lease has ended; unknown tickets are ignored, so that releasing twice is harmless."""
        key = self._granted.pop(ticket, None)
        if key is None:
            return []
        runner = self._runners.get(key)
        if runner is None or ticket not in runner.leases:
            return []
        runner.leases.discard(ticket)
        runner.used_at = now
        if runner.leases or not (self._waiting or self._keep_alive_of(key) == 0 or self._draining):
            return []
        if self._draining:
            return [self._stop(key, runner, StopReason.DRAINED)]
        return [*self._make_room_and_start(now), *self.tick(now)]

    # runners

    def ready(self, key: RunnerKey, generation: int, now: float) -> list[Decision]:
        """A runner answers; everyone who waits for it is granted."""
        runner = self._runners.get(key)
        if runner is None or runner.generation != generation or runner.state is not State.STARTING:
            return []
        runner.state = State.READY
        runner.used_at = now
        granted = [(ticket, wait) for ticket, wait in self._waiting.items() if wait.key == key]
        for ticket, _ in granted:
            del self._waiting[ticket]
        return [self._grant(ticket, key, runner, now, wait.keep_alive) for ticket, wait in granted]

    def ended(
        self, key: RunnerKey, generation: int, failure: BackendFailure | None, now: float
    ) -> list[Decision]:
        """A runner's processes are gone.  `failure` is why, None when it was stopped as decided.

        Whoever waited for a load that failed is refused with the failure: the load is not repeated
        once per waiting request.
        """
        runner = self._runners.get(key)
        if runner is None or runner.generation != generation:
            return []
        del self._runners[key]
        for ticket in runner.leases:
            self._granted.pop(ticket, None)
        decisions: list[Decision] = []
        if runner.state is State.STARTING and failure is not None:
            decisions += self._refuse_waiting(key, Refusal.LOAD_FAILED, failure)
        return [*decisions, *self._make_room_and_start(now)]

    def unload(self, matches: Callable[[RunnerKey], bool]) -> list[Decision]:
        """Stop every matching runner that has no lease; those who wait for its load are refused."""
        decisions: list[Decision] = []
        for key, runner in self._runners.items():
            if matches(key) and not runner.leases and runner.state is not State.STOPPING:
                decisions += self._refuse_waiting(key, Refusal.UNLOADED, None)
                decisions.append(self._stop(key, runner, StopReason.UNLOADED))
        return decisions

    def drain(self) -> list[Decision]:
        """Admit nothing more: refuse who waits, stop what has no lease, the rest when it is
        released.
        """
        self._draining = True
        decisions: list[Decision] = [Refuse(ticket, Refusal.DRAINING) for ticket in self._waiting]
        self._waiting.clear()
        for key, runner in self._runners.items():
            if not runner.leases and runner.state is not State.STOPPING:
                decisions.append(self._stop(key, runner, StopReason.DRAINED))
        return decisions

    # time

    def tick(self, now: float) -> list[Decision]:
        """Carry out what was due by `now`: expiries and waits that have been too long."""
        decisions: list[Decision] = []
        for key, runner in self._runners.items():
            expiry = self._expires_at(key, runner)
            if expiry is not None and expiry <= now:
                decisions.append(self._stop(key, runner, StopReason.EXPIRED))
        overdue = [
            ticket
            for ticket, waiting in self._waiting.items()
            if waiting.since + self._queue_timeout <= now
        ]
        for ticket in overdue:
            abandoned = self.withdraw(ticket, now)
            decisions += [Refuse(ticket, Refusal.QUEUE_TIMEOUT), *abandoned]
        return decisions

    def next_deadline(self) -> float | None:
        """Return when `tick` has something to do next, None while nothing is due."""
        due = [
            expiry
            for key, runner in self._runners.items()
            if (expiry := self._expires_at(key, runner)) is not None
        ]
        for waiting in self._waiting.values():  # the first one has waited longest
            due.append(waiting.since + self._queue_timeout)
            break
        return min(due, default=None)

    # owners' commands

    def set_keep_alive(self, key: RunnerKey, seconds: float | None) -> None:
        """Say what is configured for the runner of `key`, None for the daemon's default."""
        if seconds is None:
            self._keep_alives.pop(key, None)
        else:
            self._keep_alives[key] = seconds

    # on view

    def view(self) -> list[RunnerView]:
        """Return all runners as they stand."""
        counts: dict[RunnerKey, int] = {}
        for waiting in self._waiting.values():
            counts[waiting.key] = counts.get(waiting.key, 0) + 1
        return [
            RunnerView(
                key=key,
                generation=runner.generation,
                state=runner.state,
                leases=len(runner.leases),
                waiting=counts.get(key, 0),
                used_at=runner.used_at,
                keep_alive=self._keep_alive_of(key),
                expires_at=self._expires_at(key, runner),
            )
            for key, runner in self._runners.items()
        ]

    def busy(self, matches: Callable[[RunnerKey], bool]) -> bool:
        """Return whether a matching runner has a lease or is being loaded for somebody."""
        return any(
            matches(key) and (runner.leases or runner.state is State.STARTING)
            for key, runner in self._runners.items()
        )

    @property
    def queued(self) -> int:
        """How many tickets wait."""
        return len(self._waiting)

    # decisions

    def _grant(
        self, ticket: int, key: RunnerKey, runner: _Runner, now: float, keep_alive: float | None
    ) -> Grant:
        runner.leases.add(ticket)
        runner.used_at = now
        if keep_alive is not None:
            runner.keep_alive = keep_alive
        self._granted[ticket] = key
        return Grant(ticket, key, runner.generation)

    def _stop(self, key: RunnerKey, runner: _Runner, reason: StopReason) -> Stop:
        runner.state = State.STOPPING
        return Stop(key, runner.generation, reason)

    def _refuse_waiting(
        self, key: RunnerKey, refusal: Refusal, failure: BackendFailure | None
    ) -> list[Decision]:
        tickets = [ticket for ticket, waiting in self._waiting.items() if waiting.key == key]
        for ticket in tickets:
            del self._waiting[ticket]
        return [Refuse(ticket, refusal, failure) for ticket in tickets]

    def _make_room_and_start(self, now: float) -> list[Decision]:
        """Start what is waited for, in order of arrival; evict one idle runner per place."""
        decisions: list[Decision] = []
        if self._draining:
            return decisions
        leaving = sum(runner.state is State.STOPPING for runner in self._runners.values())
        for key in self._wanted_keys():
            if len(self._runners) < self._capacity:
                self._generation += 1
                self._runners[key] = _Runner(self._generation, State.STARTING, now)
                decisions.append(Start(key, self._generation))
            elif leaving > 0:
                leaving -= 1  # the place of a runner that is stopping is this one's
            elif (victim := self._victim()) is not None:
                decisions.append(self._stop(victim, self._runners[victim], StopReason.EVICTED))
            else:
                break
        return decisions

    def _wanted_keys(self) -> Iterator[RunnerKey]:
        """Yield what is waited for and has no runner at all, each once, oldest wait first."""
        seen: set[RunnerKey] = set()
        for waiting in list(self._waiting.values()):
            if waiting.key not in seen and waiting.key not in self._runners:
                seen.add(waiting.key)
                yield waiting.key

    def _wanted(self, key: RunnerKey) -> bool:
        return any(waiting.key == key for waiting in self._waiting.values())

    def _victim(self) -> RunnerKey | None:
        idle = [
            (runner.used_at, runner.generation, key)
            for key, runner in self._runners.items()
            if runner.state is State.READY and not runner.leases
        ]
        return min(idle, key=lambda entry: entry[:2])[2] if idle else None

    def _keep_alive_of(self, key: RunnerKey) -> float:
        named = self._runners[key].keep_alive
        return self._keep_alives.get(key, self._keep_alive) if named is None else named

    def _expires_at(self, key: RunnerKey, runner: _Runner) -> float | None:
        if runner.state is not State.READY or runner.leases:
            return None
        keep_alive = self._keep_alive_of(key)
        return None if keep_alive < 0 else runner.used_at + keep_alive
