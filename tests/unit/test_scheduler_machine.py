"""The scheduler as a machine that hypothesis drives: what holds after any sequence of events.

The machine plays the supervisor: it carries out every decision and checks that it made sense.  At
the end it lets everything run its course and demands that every ticket has been answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runnerd.errors import BackendFailure
from runnerd.scheduler import (
    BACKGROUND,
    Decision,
    DeviceMemory,
    Fault,
    Grant,
    Limits,
    Refusal,
    Refuse,
    RunnerKey,
    Scheduler,
    Shape,
    Start,
    Stop,
    Terms,
)

FAILURE = BackendFailure("exit status 1")
TOTAL = 100
QUEUE_TIMEOUT = 600.0
PATIENCE = 20.0


def key(name: str) -> RunnerKey:
    return RunnerKey("llama.cpp", name, "completion", "0")


TERMS = {
    key("small"): Terms(need={"ram": 20}),
    key("slots"): Terms(need={"ram": 20}, slots=1),
    key("pool"): Terms(need={"ram": 15}, slots=1, min_instances=1, max_instances=3),
    key("big"): Terms(need={"ram": 90}),
    key("huge"): Terms(need={"ram": 150}),
    key("gpu"): Terms(need={"ram": 5, "gpu0": 60}),
    key("gpu2"): Terms(need={"ram": 5, "gpu0": 60}, keep_alive=0.0),
    key("left"): Terms(need={"ram": 10}, exclusive_groups=("g",)),
    key("right"): Terms(need={"ram": 10}, exclusive_groups=("g", "h")),
    key("beyond"): Terms(need={"ram": 10}, exclusive_groups=("h",)),
    key("stays"): Terms(need={"ram": 10}, exclusive_groups=("h",), keep_alive=-1.0),
    key("unknown"): Terms(),
    key("talk"): Terms(need={"ram": 5}, slots=2, min_instances=2, max_instances=3),
    key("shapes"): Terms(
        need={"ram": 70}, slots=4, fewer=(Shape(2, {"ram": 40}), Shape(1, {"ram": 25}))
    ),
    key("more"): Terms(
        need={"ram": 30, "gpu0": 80},
        slots=2,
        fewer=(Shape(1, {"ram": 20, "gpu0": 30}),),
        max_instances=2,
    ),
}

# Conversations take several requests to the same model.
WANTED = st.sampled_from([*TERMS, *[key("talk")] * 6])


AFFINITIES = st.sampled_from([(), (1,), (1, 2), (3,)])


@dataclass
class Running:
    """A runner as its supervisor knows it."""

    key: RunnerKey
    slots: int | None = None
    state: str = "starting"
    failing: bool = False
    loaded: bool = False
    leases: set[int] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)  # places in conversations

    @property
    def need(self) -> Mapping[str, int]:
        """What it takes, with so many slots."""
        return next(shape.need for shape in TERMS[self.key].shapes if shape.slots == self.slots)

    def shared(self, affinity: tuple[int, ...]) -> int:
        """Return how much of what a request goes on with it has seen."""
        return max((n for n, place in enumerate(affinity, 1) if place in self.seen), default=0)


class Machine(RuleBasedStateMachine):
    """Random requests, failures, expiries and withdrawals over pools of every kind."""

    CAPACITY = 4

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(
            Limits(
                capacity=self.CAPACITY,
                queue_length=12,
                queue_timeout=QUEUE_TIMEOUT,
                keep_alive=30.0,
                overcommit=1.0,
                patience=PATIENCE,
            )
        )
        self.now = 0.0
        self.jobs: set[int] = set()  # tickets in the background
        self.tickets = 0
        self.open: dict[int, tuple[RunnerKey, float]] = {}  # asked and not answered
        self.affinities: dict[int, tuple[int, ...]] = {}
        self.running: dict[int, Running] = {}
        self.generations: set[int] = set()
        self.crashed_loads: Counter[RunnerKey] = Counter()  # in a row, by chance alone

    @initialize()
    def begin(self) -> None:
        for wanted, terms in TERMS.items():
            self.scheduler.set_terms(wanted, terms)
        self.observe(0)
        self.apply(self.scheduler.ensure(self.now))

    # carrying out

    def apply(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Start(wanted, generation, slots):
                    self.started(wanted, generation, slots)
                case Stop(wanted, generation, _):
                    runner = self.running[generation]
                    assert runner.key == wanted
                    assert runner.state != "stopping", "stopped twice"
                    assert not runner.leases, "stopped while in use"
                    runner.state = "stopping"
                case Grant(ticket, wanted, generation):
                    assert self.open.pop(ticket)[0] == wanted
                    runner = self.running[generation]
                    assert (runner.key, runner.state) == (wanted, "ready")
                    runner.leases.add(ticket)
                    runner.seen |= set(self.affinities.get(ticket, ()))
                    self.begins(ticket)
                    most = runner.slots
                    assert most is None or len(runner.leases) <= most, "more than it has slots"
                case Refuse(ticket, refusal, failure):
                    wanted, _ = self.open.pop(ticket)
                    told = refusal is Refusal.LOAD_FAILED and self.crashed_loads[wanted] == 1
                    assert not told, "the first crash of a load is made good"
                    assert (failure is not None) == (
                        refusal in (Refusal.LOAD_FAILED, Refusal.FAILING, Refusal.NO_MEMORY)
                    )

    def begins(self, ticket: int) -> None:
        """Jobs begin in pauses between people, or alone."""
        leased = {each for runner in self.running.values() for each in runner.leases}
        if ticket in self.jobs and leased - self.jobs:
            assert leased & self.jobs == {ticket}, "jobs beside people"

    def started(self, wanted: RunnerKey, generation: int, slots: int | None) -> None:
        assert generation not in self.generations, "a generation was used twice"
        same = sum(runner.key == wanted for runner in self.running.values())
        assert same < TERMS[wanted].max_instances, "more instances than allowed"
        self.generations.add(generation)
        runner = self.running[generation] = Running(wanted, slots)
        for group in TERMS[wanted].exclusive_groups:
            members = [r for r in self.running.values() if group in TERMS[r.key].exclusive_groups]
            assert len(members) == 1, "an exclusive group is resident together"
        for device in runner.need:
            holders = [r for r in self.running.values() if r.need.get(device)]
            assert self.held(device) <= TOTAL or len(holders) == 1, "over budget"

    def held(self, device: str) -> int:
        return sum(runner.need.get(device, 0) for runner in self.running.values())

    def observe(self, others: int) -> None:
        """Show the devices, `others` bytes of each in use by other programs."""
        devices = []
        for device in ("ram", "gpu0"):
            used = others + sum(
                runner.need.get(device, 0)
                for runner in self.running.values()
                if runner.state == "ready"
            )
            devices.append(DeviceMemory(device, 2 * TOTAL, max(0, 2 * TOTAL - used), TOTAL))
        self.scheduler.observe(devices)

    # events

    @rule(
        wanted=WANTED,
        client=st.sampled_from(["x", "y"]),
        priority=st.sampled_from([0, 0, 1]),
        keep_alive=st.sampled_from([None, None, 0.0, -1.0]),
        affinity=AFFINITIES,
    )
    def request(
        self,
        wanted: RunnerKey,
        client: str,
        priority: int,
        keep_alive: float | None,
        affinity: tuple[int, ...],
    ) -> None:
        self.tickets += 1
        self.open[self.tickets] = (wanted, self.now)
        self.affinities[self.tickets] = affinity
        self.scheduler.set_terms(wanted, TERMS[wanted])
        home = self.home(wanted, affinity)
        decisions = self.scheduler.request(
            self.tickets,
            wanted,
            self.now,
            client=client,
            priority=priority,
            keep_alive=keep_alive,
            affinity=affinity,
        )
        self.lands_at_home(decisions[:1], home, affinity)
        self.apply(decisions)

    @rule(wanted=WANTED, client=st.sampled_from(["x", "y"]))
    def request_in_background(self, wanted: RunnerKey, client: str) -> None:
        """Something that nobody waits for, in line or at once."""
        self.tickets += 1
        self.open[self.tickets] = (wanted, self.now)
        self.jobs.add(self.tickets)
        self.scheduler.set_terms(wanted, TERMS[wanted])
        self.apply(
            self.scheduler.request(
                self.tickets, wanted, self.now, client=client, priority=BACKGROUND
            )
        )

    @precondition(lambda self: self.jobs_running())
    @rule()
    def jobs_make_room(self) -> None:
        """They are told to, and do so later."""
        for ticket in self.jobs_running():
            self.scheduler.displaced(ticket, self.now)

    def jobs_running(self) -> list[int]:
        leased = {ticket for runner in self.running.values() for ticket in runner.leases}
        return sorted(leased & self.jobs)

    def home(self, wanted: RunnerKey, affinity: tuple[int, ...]) -> int:
        """Return how much of a conversation an instance with a slot for it has seen."""
        views = {view.generation: view for view in self.scheduler.view()}
        return max(
            (
                runner.shared(affinity)
                for generation, runner in self.running.items()
                if (runner.key, runner.state) == (wanted, "ready")
                and not views[generation].draining
                and (runner.slots is None or len(runner.leases) < runner.slots)
            ),
            default=0,
        )

    def lands_at_home(
        self, decisions: list[Decision], home: int, affinity: tuple[int, ...]
    ) -> None:
        """Who is granted at once gets the instance that has seen most of his conversation."""
        for decision in decisions:
            if isinstance(decision, Grant) and decision.ticket == self.tickets:
                shared = self.running[decision.generation].shared(affinity)
                assert shared >= home, "a conversation was sent away from home"

    @rule(wanted=WANTED, client=st.sampled_from(["x", "y"]), affinity=AFFINITIES)
    def request_at_once(self, wanted: RunnerKey, client: str, affinity: tuple[int, ...]) -> None:
        self.asks_at_once(wanted, client, affinity)

    def asks_at_once(self, wanted: RunnerKey, client: str, affinity: tuple[int, ...]) -> bool:
        """Ask for what is there at once; return whether there was something."""
        self.tickets += 1
        home = self.home(wanted, affinity)
        granted = self.scheduler.request_at_once(
            self.tickets, wanted, self.now, client=client, affinity=affinity
        )
        if granted is not None:
            self.affinities[self.tickets] = affinity
            self.lands_at_home([granted], home, affinity)
            self.open[self.tickets] = (wanted, self.now)
            self.apply([granted])
        return granted is not None

    @rule(
        wanted=WANTED,
        client=st.sampled_from(["x", "y"]),
        affinity=AFFINITIES,
        at_once=st.booleans(),
    )
    def line_up(
        self, wanted: RunnerKey, client: str, affinity: tuple[int, ...], at_once: bool
    ) -> None:
        """Waiting where nothing but waiting is needed; nobody is stranded by it (invariants), also
        where it has asked `at_once` before and no room was found.
        """
        if at_once and self.asks_at_once(wanted, client, affinity):
            return
        self.tickets += 1
        before = self.scheduler.queued
        waits = self.scheduler.line_up(
            self.tickets, wanted, self.now, client=client, affinity=affinity, full=at_once
        )
        assert self.scheduler.queued == before + waits
        if waits:
            self.affinities[self.tickets] = affinity
            self.open[self.tickets] = (wanted, self.now)
            assert any(
                runner.key == wanted and runner.state == "ready" for runner in self.running.values()
            )

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.open)))
        del self.open[ticket]
        self.apply(self.scheduler.withdraw(ticket, self.now))

    @precondition(lambda self: any(runner.leases for runner in self.running.values()))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        leased = sorted(t for runner in self.running.values() for t in runner.leases)
        self.let_go(data.draw(st.sampled_from(leased)))

    def let_go(self, ticket: int) -> None:
        for runner in self.running.values():
            runner.leases.discard(ticket)
        self.apply(self.scheduler.release(ticket, self.now))
        assert self.scheduler.release(ticket, self.now) == []

    @precondition(lambda self: any(r.state == "starting" for r in self.running.values()))
    @rule(data=st.data())
    def ready(self, data: st.DataObject) -> None:
        starting = sorted(g for g, r in self.running.items() if r.state == "starting")
        self.becomes_ready(data.draw(st.sampled_from(starting)))

    def becomes_ready(self, generation: int) -> None:
        runner = self.running[generation]
        runner.state, runner.loaded = "ready", True
        self.crashed_loads[runner.key] = 0
        self.apply(self.scheduler.ready(runner.key, generation, self.now))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), fault=st.sampled_from(Fault), jitter=st.sampled_from([0.8, 1.2]))
    def ended(self, data: st.DataObject, fault: Fault, jitter: float) -> None:
        self.ends(data.draw(st.sampled_from(sorted(self.running))), fault, jitter)

    def ends(self, generation: int, fault: Fault = Fault.CRASH, jitter: float = 1.0) -> None:
        runner = self.running.pop(generation)
        failure = None if runner.state == "stopping" and not runner.failing else FAILURE
        if failure is not None and not runner.loaded:
            # What is no chance is told at once, and nobody waits for a second try then.
            self.crashed_loads[runner.key] += 1 if fault is Fault.CRASH else 2
        self.apply(
            self.scheduler.ended(
                runner.key, generation, failure, self.now, fault=fault, jitter=jitter
            )
        )

    @precondition(lambda self: any(r.state != "stopping" for r in self.running.values()))
    @rule(data=st.data())
    def failing(self, data: st.DataObject) -> None:
        """A runner hangs: it will be ended, and its leases last until then."""
        moving = sorted(g for g, r in self.running.items() if r.state != "stopping")
        generation = data.draw(st.sampled_from(moving))
        runner = self.running[generation]
        runner.state, runner.failing = "stopping", True
        self.scheduler.failing(runner.key, generation)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 100.0, 700.0]))
    def later(self, seconds: float) -> None:
        """Loads end within seconds: a turn lasts twice as long, and `teardown` waits for turns."""
        if seconds > 5.0:
            for generation, runner in list(self.running.items()):
                if runner.state == "starting":
                    self.becomes_ready(generation)
        self.time_passes(seconds)

    def time_passes(self, seconds: float) -> None:
        """To the next moment that the scheduler asked for, but not further than `seconds`."""
        deadline = self.scheduler.next_deadline()
        end = self.now + seconds
        while deadline is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.apply(self.scheduler.tick(self.now))
            after = self.scheduler.next_deadline()
            assert after is None or after > self.now, "a deadline that is never carried out"
            deadline = after
        self.now = end

    @precondition(lambda self: any(r.state == "ready" for r in self.running.values()))
    @rule(data=st.data(), share=st.sampled_from([0.0, 0.5, 1.0]))
    def learned(self, data: st.DataObject, share: float) -> None:
        """A runner was looked at: it holds some of what it needs."""
        ready = sorted(g for g, r in self.running.items() if r.state == "ready")
        generation = data.draw(st.sampled_from(ready))
        wanted, need = self.running[generation].key, self.running[generation].need
        held = {device: int(amount * share) for device, amount in need.items()}
        self.scheduler.learned(wanted, generation, need, held)

    @rule(wanted=st.sampled_from(list(TERMS)))
    def estimated(self, wanted: RunnerKey) -> None:
        self.scheduler.estimated(wanted, TERMS[wanted].need, TERMS[wanted].fewer)

    @rule(others=st.sampled_from([0, 30, 190]))
    def look(self, others: int) -> None:
        self.observe(others)

    @rule(name=st.sampled_from(["small", "pool", "big"]))
    def unload(self, name: str) -> None:
        self.crashed_loads[key(name)] = 0
        self.apply(self.scheduler.unload(lambda wanted: wanted == key(name)))

    # what always holds

    @invariant()
    def places_are_kept(self) -> None:
        assert len(self.running) <= self.CAPACITY

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert self.scheduler.queued == len(self.open)
        views = {view.generation: view for view in self.scheduler.view()}
        assert views.keys() == self.running.keys()
        for generation, runner in self.running.items():
            assert views[generation].state.value == runner.state
            assert views[generation].leases == len(runner.leases)
            assert views[generation].slots == runner.slots
            assert views[generation].reserved == runner.need, "what is shown is not what is taken"

    @invariant()
    def nobody_is_stranded(self) -> None:
        """Whoever waits, waits for something that will happen, and never beside a free runner."""
        assert self.scheduler.stranded(self.now) == []
        if self.open:
            assert self.scheduler.next_deadline() is not None

    def teardown(self) -> None:
        """Everybody who waits is answered once loads end, answers end and time passes."""
        for _ in range(400):
            if not self.open:
                break
            for generation, runner in list(self.running.items()):
                if runner.state == "starting":
                    self.becomes_ready(generation)
                elif runner.state == "stopping":
                    self.ends(generation)
                for ticket in list(runner.leases):
                    self.let_go(ticket)
            self.time_passes(1.0)
        assert not self.open, "somebody waits for ever"


Machine.TestCase.settings = settings(max_examples=300, stateful_step_count=40)
TestMachine = Machine.TestCase


Step = Callable[[Machine], None]


@pytest.mark.parametrize("others", [0, 30])
def test_machine_itself_sees_a_broken_budget(others: int) -> None:
    """The machine is no rubber stamp: a start over budget fails it."""
    machine = Machine()
    machine.begin()
    machine.observe(others)
    machine.running.clear()
    machine.apply([Start(key("big"), 1001)])
    with pytest.raises(AssertionError, match="over budget"):
        machine.apply([Start(key("small"), 1002)])
