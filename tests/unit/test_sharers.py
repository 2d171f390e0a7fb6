"""Who uses a pool beside whom, and what one client may hold of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from runnerd.scheduler import Decision, Grant, Limits, RunnerKey, Scheduler, Start, Terms
from runnerd.scheduler.sharers import LATELY, Sharers, most

A = RunnerKey("llama.cpp", "a", "completion", "0")
SLOTS = 4


def test_who_was_seen() -> None:
    """Of each client it is known until when another one counts as being there."""
    sharers = Sharers()
    sharers.came("ann", 0.0)
    assert sharers.shared_until("ann") == -math.inf
    assert sharers.shared_until("bob") == LATELY
    sharers.came("bob", 10.0)
    sharers.came("ann", 20.0)
    sharers.came("ann", 30.0)
    assert sharers.shared_until("ann") == 10.0 + LATELY
    assert sharers.shared_until("bob") == 30.0 + LATELY
    sharers.came("carl", 40.0)
    assert sharers.shared_until("bob") == 40.0 + LATELY
    assert sharers.shared_until("carl") == 30.0 + LATELY


def test_who_holds_places() -> None:
    """As long as others hold some, they are there."""
    sharers = Sharers()
    sharers.held["ann"] = 2
    assert sharers.shared_until("ann") == -math.inf
    assert sharers.shared_until("bob") == math.inf
    sharers.held["bob"] = 1
    assert sharers.shared_until("ann") == math.inf


def test_one_of_four_is_left() -> None:
    """Of fewer none: half of an engine, or a third, is more than the wait is worth."""
    assert [most(slots) for slots in (1, 2, 3, 4, 8)] == [1, 2, 3, 3, 7]


def make(*, overcommit: float = 2.0, slots: int = SLOTS) -> Scheduler:
    """A scheduler of one engine that is ready."""
    scheduler = Scheduler(
        Limits(
            capacity=1, queue_length=1000, queue_timeout=9e9, keep_alive=-1.0, overcommit=overcommit
        )
    )
    scheduler.set_terms(A, Terms(slots=slots, min_instances=1))
    [start] = scheduler.ensure(0.0)
    assert isinstance(start, Start)
    scheduler.ready(A, start.generation, 0.0)
    return scheduler


def granted(decisions: Sequence[Decision]) -> list[int]:
    return [decision.ticket for decision in decisions if isinstance(decision, Grant)]


def test_alone_it_has_everything() -> None:
    """As much as `overcommit` gives, and as one goes the next one comes."""
    scheduler = make()
    for ticket in range(8):
        assert granted(scheduler.request(ticket, A, 1.0, client="greedy")) == [ticket]
    assert scheduler.request(8, A, 1.0, client="greedy") == []
    assert granted(scheduler.release(0, 2.0)) == [8]


def test_the_next_place_goes_to_the_other() -> None:
    """Whatever waits in front of it; and then one of four stays free for its next request, which
    waits for nobody.
    """
    scheduler = make()
    for ticket in range(16):
        scheduler.request(ticket, A, 1.0, client="greedy")
    assert scheduler.request(100, A, 2.0, client="person") == []
    assert granted(scheduler.release(0, 3.0)) == [100]
    scheduler.release(100, 4.0)
    for ticket in range(1, 8):  # until greedy has no more than three
        now = 5.0 + ticket
        decisions = scheduler.release(ticket, now)
        assert granted(decisions) == ([ticket + 3] if ticket >= 5 else []), ticket
    leases = [view.leases for view in scheduler.view()]
    assert leases == [3]
    assert scheduler.stranded(20.0) == []
    assert granted(scheduler.request(101, A, 21.0, client="person")) == [101]
    assert scheduler.line_up(102, A, 22.0, client="greedy")
    scheduler.release(101, 23.0)
    at_once = scheduler.request_at_once(103, A, 24.0, client="person")
    assert at_once == Grant(103, A, 1)


def test_the_place_is_given_back_to_who_is_alone() -> None:
    """Five minutes after the other was seen, at a moment that is noted."""
    scheduler = make(overcommit=1.0)
    scheduler.request(100, A, 1.0, client="person")
    for ticket in range(6):
        scheduler.request(ticket, A, 2.0, client="greedy")
    assert scheduler.release(100, 3.0) == []
    deadline = scheduler.next_deadline()
    assert deadline == scheduler.expires_at(A, 1) == 1.0 + LATELY
    assert scheduler.tick(deadline - 0.1) == []
    assert granted(scheduler.tick(deadline)) == [3]
    assert scheduler.next_deadline() != deadline


def test_all_is_for_who_is_alone_at_once() -> None:
    """The other one was seen long ago, and its last request ends: no place waits for a timer."""
    scheduler = make(slots=2, overcommit=2.0)
    scheduler.request(1, A, 1.0, client="greedy")
    scheduler.request(2, A, 1.0, client="person")
    for ticket in (3, 4, 5):
        assert scheduler.request(ticket, A, 1.0, client="greedy") == []
    assert granted(scheduler.release(1, 2.0 + LATELY)) == [3]
    assert granted(scheduler.release(2, 3.0 + LATELY)) == [4, 5]


def test_who_comes_passes_who_cannot_be_served() -> None:
    """A place beyond the slots is for who holds none, also while somebody waits who holds some."""
    scheduler = make(slots=2, overcommit=2.0)
    scheduler.request(1, A, 1.0, client="greedy")
    scheduler.request(2, A, 1.0, client="greedy")
    scheduler.request(3, A, 2.0, client="person")
    assert scheduler.request(4, A, 3.0, client="greedy") == []
    assert scheduler.release(1, 4.0) == []
    assert scheduler.request_at_once(5, A, 5.0, client="another") == Grant(5, A, 1)


def test_a_quick_engine_is_not_held_back() -> None:
    """What answers within milliseconds is waited for by nobody."""
    scheduler = make(overcommit=1.0)
    scheduler.request(1000, A, 1.0, client="person")
    for ticket in range(500):
        scheduler.request(ticket, A, 1.0, client="greedy")
    now, given = 1.0, [0, 1, 2]
    for _ in range(100):
        now += 0.0001
        given += granted(scheduler.release(given.pop(0), now))
    [view] = scheduler.view()
    assert view.leases > SLOTS


def test_a_quick_engine_is_not_held_back_on_a_busy_machine() -> None:
    """The daemon, or the engine, has to wait for the processor all the time: that is not slowness,
    and everybody who waits would wait longer for it.
    """
    scheduler = make(overcommit=2.0)
    scheduler.request(1000, A, 1.0, client="person")
    for ticket in range(64):
        scheduler.request(ticket, A, 1.0, client="greedy")
    now, given, leases = 1.0, [0, 1, 2], []
    for ticket in range(64, 1000):
        now += 0.008 if ticket % 40 == 0 else 0.001 if ticket % 8 == 0 else 0.00005
        given += granted(scheduler.release(given.pop(0), now))
        scheduler.request(ticket, A, now, client="greedy")
        leases.append(len(given))
    assert min(leases[300:]) >= 4 * SLOTS


def test_who_was_quick_long_ago_leaves_a_slot_now() -> None:
    """What an engine showed with requests of another kind is no reason to give it everything."""
    scheduler = make(overcommit=1.0)
    for ticket in range(200):
        scheduler.request(ticket, A, 1.0, client="greedy")
    now, given = 1.0, list(range(SLOTS))
    while given:
        now += 0.0001
        given += granted(scheduler.release(given.pop(0), now))
    now += 60.0
    scheduler.request(1000, A, now, client="person")
    scheduler.release(1000, now + 1.0)
    for ticket in range(300, 320):
        scheduler.request(ticket, A, now + 2.0, client="greedy")
    [view] = scheduler.view()
    assert view.leases == SLOTS - 1


def test_a_quick_engine_gives_nothing_for_what_takes_long() -> None:
    """Else a few quick requests would earn a client all places, and others would wait for it."""
    scheduler = make(overcommit=2.0)
    scheduler.request(1000, A, 1.0, client="person")
    scheduler.release(1000, 1.0)
    for ticket in range(64):
        scheduler.request(ticket, A, 1.0, client="greedy")
    now, given = 1.0, [0, 1, 2]
    while given:
        now += 0.0001
        given += granted(scheduler.release(given.pop(0), now))
    for ticket in range(100, 120):
        scheduler.request(ticket, A, now, client="greedy", long=True)
    [view] = scheduler.view()
    assert view.leases == SLOTS - 1
    assert granted(scheduler.request(1001, A, now, client="person", long=True)) == [1001]


def test_what_was_not_computed_shows_no_pace() -> None:
    """Tokens that are counted, refusals, and clients that leave."""
    scheduler = make(overcommit=1.0)
    for ticket in range(200):
        scheduler.request(ticket, A, 1.0, client="greedy")
    now, given = 1.0, list(range(SLOTS))
    for _ in range(150):
        now += 0.0001
        given += granted(scheduler.release(given.pop(0), now, computed=False))
    [view] = scheduler.view()
    assert view.leases == SLOTS


def test_background_is_counted_by_itself() -> None:
    """Who has jobs running is no holder when it talks with a model."""
    scheduler = make(overcommit=1.0)
    for ticket in range(6):
        scheduler.request(ticket, A, 1.0, client="ann", priority=-(2**16))
    for ticket in range(10, 13):
        scheduler.request(ticket, A, 2.0, client="bob")
    assert scheduler.request(20, A, 3.0, client="ann") == []
    assert granted(scheduler.release(10, 4.0)) == [11]
    assert granted(scheduler.release(11, 4.0)) == [20]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["ask", "line up", "at once"]), st.sampled_from("aaabc")),
        st.tuples(st.just("ask"), st.sampled_from("aab")),
        st.tuples(st.just("end"), st.integers(0, 9)),
        st.tuples(st.sampled_from(["end", "end", "leave"]), st.integers(0, 9)),
        st.tuples(st.just("later"), st.sampled_from([1, 100, 400])),
    ),
    min_size=6,
    max_size=60,
)


class Played:
    """One engine, its clients, and what has to hold after each step."""

    def __init__(self, slots: int, overcommit: float) -> None:
        self.scheduler = make(slots=slots, overcommit=overcommit)
        self.slots, self.overcommit = slots, overcommit
        self.now = 1.0
        self.tickets = 0
        self.waiting: dict[int, str] = {}
        self.running: dict[int, str] = {}
        self.seen: dict[str, float] = {}

    def step(self, kind: str, what: str | int) -> None:
        if isinstance(what, str):
            self.asks(kind, what)
        elif kind == "later":
            self.passes(what)
        elif kind == "end" and self.running:
            ticket = sorted(self.running)[what % len(self.running)]
            del self.running[ticket]
            self.grants(self.scheduler.release(ticket, self.now))
        elif kind == "leave" and self.waiting:
            ticket = sorted(self.waiting)[what % len(self.waiting)]
            del self.waiting[ticket]
            self.grants(self.scheduler.withdraw(ticket, self.now))
        self.now += 0.01  # slow enough to be no quick engine
        self.holds()

    def asks(self, kind: str, client: str) -> None:
        self.tickets += 1
        ticket = self.tickets
        if kind == "at once":
            grant = self.scheduler.request_at_once(ticket, A, self.now, client=client)
            if grant is None:
                if self.scheduler.line_up(ticket, A, self.now, client=client, full=True):
                    self.seen[client] = self.now
                    self.waiting[ticket] = client
                return
            self.waiting[ticket] = client
            self.seen[client] = self.now
            self.grants([grant])
            return
        if kind == "line up":
            if self.scheduler.line_up(ticket, A, self.now, client=client):
                self.seen[client] = self.now
                self.waiting[ticket] = client
            return
        self.seen[client] = self.now
        self.waiting[ticket] = client
        self.grants(self.scheduler.request(ticket, A, self.now, client=client))

    def grants(self, decisions: Sequence[Decision]) -> None:
        for ticket in granted(decisions):
            client = self.waiting.pop(ticket)
            held = list(self.running.values()).count(client)
            if held:
                idle = {each for each in self.waiting.values() if each not in self.running.values()}
                assert not idle, "who holds a place was given one before who holds none"
            if held and self.is_shared(client):
                assert held < most(self.slots), "more than one client may have beside others"
                assert len(self.running) < self.slots, "several of one client wait in the engine"
            self.running[ticket] = client

    def is_shared(self, client: str) -> bool:
        if any(each != client for each in self.running.values()):
            return True
        others = [seen for each, seen in self.seen.items() if each != client]
        return max(others, default=-math.inf) + LATELY > self.now

    def passes(self, seconds: float) -> None:
        end = self.now + seconds
        while (deadline := self.scheduler.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.grants(self.scheduler.tick(self.now))
            after = self.scheduler.next_deadline()
            assert after is None or after > self.now, "a deadline that is never carried out"
        self.now = end

    def holds(self) -> None:
        """Nobody waits beside a place that is for it."""
        assert self.scheduler.stranded(self.now) == []
        places = int(self.slots * self.overcommit)
        assert len(self.running) <= places
        for client in set(self.waiting.values()):
            held = list(self.running.values()).count(client)
            if not held:
                assert len(self.running) >= places, "who holds none waits beside a place"
            elif not self.is_shared(client):
                assert len(self.running) >= places, "who is alone waits beside a place"
            else:
                full = len(self.running) >= self.slots
                assert full or held >= most(self.slots), "waits beside more than is kept"


@settings(max_examples=500)
@given(STEPS, st.sampled_from([1, 2, 4, 5]), st.sampled_from([1.0, 2.0]))
def test_no_client_has_what_others_want(
    steps: list[tuple[str, str | int]], slots: int, overcommit: float
) -> None:
    """Whatever they ask and in whichever order: the next place is whose who holds none, one of
    four stays free while it is shared, and nobody waits beside any other place.
    """
    played = Played(slots, overcommit)
    for kind, what in steps:
        played.step(kind, what)
    for _ in range(200):  # everybody is served in the end
        if not played.running and not played.waiting:
            break
        if played.running:
            played.step("end", 0)
        played.passes(1.0)
    assert not played.waiting
