"""Clients in closed loops on a scheduler, in simulated time: loads and answers take known times."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from runnerd.backends.interface import EngineFailure
from runnerd.scheduler import (
    Decision,
    Fault,
    Grant,
    Refuse,
    RunnerKey,
    Scheduler,
    Start,
    Stop,
)

CRASH = EngineFailure("killed by SIGKILL", exit_reason="killed by SIGKILL")
_STOP_SECONDS = 0.01


@dataclass(slots=True)
class _Client:
    """Who asks one model again and again, until it has left."""

    name: str
    wanted: RunnerKey
    stays_until: int
    asked_at: float = 0.0


@dataclass(slots=True)
class _Engine:
    key: RunnerKey
    ready: bool = False
    stopping: bool = False
    leases: set[int] = field(default_factory=set)


@dataclass
class Simulation:
    """Plays the supervisor, the engines and the clients.

    `loads` and `answers` are seconds by model, else `load_seconds` and `answer_seconds`; `pause` is
    what a client takes to ask again.  `had` is for how long each model was loaded, `served` how
    many requests of each client were answered.
    """

    scheduler: Scheduler
    load_seconds: float = 1.0
    answer_seconds: float = 0.1
    pause: float = 0.001
    loads: dict[RunnerKey, float] = field(default_factory=dict)
    answers: dict[RunnerKey, float] = field(default_factory=dict)
    now: float = 0.0
    starts: int = 0
    refused: int = 0
    served: dict[str, int] = field(default_factory=dict)
    had: dict[RunnerKey, float] = field(default_factory=dict)
    longest_wait: float = 0.0
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: int = 0
    _gone: int = 0  # how many times everybody has left
    _clients: dict[int, _Client] = field(default_factory=dict)  # by ticket, until it is answered
    _engines: dict[int, _Engine] = field(default_factory=dict)

    # what tests do

    def ask(self, client: str, wanted: RunnerKey, *, again: bool = True) -> None:
        """A client comes; it asks on and on, or once."""
        self._ask(_Client(client, wanted, self._gone if again else -1))

    def leave(self) -> None:
        """Nobody asks again; who waits goes home."""
        self._gone += 1
        waiting = [ticket for ticket in self._clients if not self._leased(ticket)]
        for ticket in waiting:
            del self._clients[ticket]
            for engine in self._engines.values():  # one that left before may have made room for it
                engine.leases.discard(ticket)
            self._apply(self.scheduler.withdraw(ticket, self.now))

    def crash(self, wanted: RunnerKey) -> None:
        """The engines of a model are killed; those whom they served ask again."""
        for generation, engine in list(self._engines.items()):
            if engine.key == wanted:
                self._ended(generation, crashed=True)

    def unload(self, wanted: RunnerKey) -> None:
        """An owner unloads a model."""
        self._apply(self.scheduler.unload(lambda key: key == wanted))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            deadline = self.scheduler.next_deadline()
            event = self._events[0][0] if self._events else end
            if min(event, end if deadline is None else deadline) >= end:
                break
            if deadline is not None and deadline < event:
                self._move_to(max(self.now, deadline))
                self._apply(self.scheduler.tick(self.now))
                continue
            when, _, happens = heapq.heappop(self._events)
            self._move_to(when)
            happens()
        self._move_to(end)

    def shares(self, wanted: Iterable[RunnerKey], seconds: float) -> list[float]:
        """Let time pass; return how much of it each model had, the least first."""
        self.had.clear()
        self.run(seconds)
        return sorted(self.had.get(key, 0.0) for key in wanted)

    # what happens

    def _at(self, seconds: float, happens: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + seconds, self._count, happens))

    def _move_to(self, when: float) -> None:
        for engine in self._engines.values():
            if engine.ready and not engine.stopping:
                self.had[engine.key] = self.had.get(engine.key, 0.0) + when - self.now
        self.now = when

    def _ask(self, client: _Client) -> None:
        self._count += 1
        ticket = self._count
        client.asked_at = self.now
        self._clients[ticket] = client
        self._apply(self.scheduler.request(ticket, client.wanted, self.now, client=client.name))

    def _leased(self, ticket: int) -> bool:
        return any(ticket in engine.leases for engine in self._engines.values())

    def _apply(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Start(wanted, generation):
                    self.starts += 1
                    self._engines[generation] = _Engine(wanted)
                    seconds = self.loads.get(wanted, self.load_seconds)
                    self._at(seconds, partial(self._ready, generation))
                case Stop(_, generation, _):
                    self._engines[generation].stopping = True
                    self._at(_STOP_SECONDS, partial(self._ended, generation))
                case Grant(ticket, wanted, generation):
                    waited = self.now - self._clients[ticket].asked_at
                    self.longest_wait = max(self.longest_wait, waited)
                    self._engines[generation].leases.add(ticket)
                    seconds = self.answers.get(wanted, self.answer_seconds)
                    self._at(seconds, partial(self._answered, ticket))
                case Refuse(ticket, _, _):
                    self.refused += 1
                    self._again(self._clients.pop(ticket))

    def _ready(self, generation: int) -> None:
        engine = self._engines.get(generation)
        if engine is not None and not engine.stopping:
            engine.ready = True
            self._apply(self.scheduler.ready(engine.key, generation, self.now))

    def _ended(self, generation: int, *, crashed: bool = False) -> None:
        engine = self._engines.pop(generation, None)
        if engine is None:
            return
        lost = [self._clients.pop(ticket) for ticket in engine.leases]
        failure = CRASH if crashed and not engine.stopping else None
        self._apply(
            self.scheduler.ended(engine.key, generation, failure, self.now, fault=Fault.CRASH)
        )
        for client in lost:
            self._again(client)

    def _answered(self, ticket: int) -> None:
        client = self._clients.pop(ticket, None)
        if client is None:
            return
        self.served[client.name] = self.served.get(client.name, 0) + 1
        for engine in self._engines.values():
            engine.leases.discard(ticket)
        self._again(client)
        self._apply(self.scheduler.release(ticket, self.now))

    def _again(self, client: _Client) -> None:
        if client.stays_until >= self._gone:
            self._at(
                self.pause, lambda: self._ask(client) if client.stays_until >= self._gone else None
            )
