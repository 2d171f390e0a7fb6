"""What nobody waits for comes behind everybody who does: for slots, and for room."""

from __future__ import annotations

from dataclasses import replace

from runnerd.scheduler import (
    BACKGROUND,
    Decision,
    Grant,
    Limits,
    Queries,
    RunnerKey,
    Scheduler,
    Start,
    Stop,
    StopReason,
    Terms,
)

A = RunnerKey("llama.cpp", "a", "completion", "0")
B = RunnerKey("llama.cpp", "b", "completion", "0")
TIMEOUT = 600.0
LIMITS = Limits(
    capacity=1,
    queue_length=1000,
    queue_timeout=TIMEOUT,
    keep_alive=-1.0,
    quantum=2.0,
    overcommit=2.0,
)


class Host:
    """A host with room for one model, and its scheduler."""

    def __init__(self, slots: int = 4, *, patience: float = 0.0) -> None:
        self.scheduler = Scheduler(replace(LIMITS, patience=patience))
        for key in (A, B):
            self.scheduler.set_terms(key, Terms(slots=slots))
        self.now = 0.0
        self.ticket = 0
        self.generations: dict[RunnerKey, int] = {}

    def ask(self, key: RunnerKey, *, job: bool = False) -> tuple[int, list[Decision]]:
        self.ticket += 1
        client, priority = ("jobs", BACKGROUND) if job else (f"client {self.ticket}", 0)
        return self.ticket, self.noted(
            self.scheduler.request(self.ticket, key, self.now, client=client, priority=priority)
        )

    def noted(self, decisions: list[Decision]) -> list[Decision]:
        for decision in decisions:
            if isinstance(decision, Start):
                self.generations[decision.key] = decision.generation
        return decisions

    def load(self, key: RunnerKey) -> list[Decision]:
        self.now += 1.0
        return self.noted(self.scheduler.ready(key, self.generations[key], self.now))

    def ended(self, key: RunnerKey) -> list[Decision]:
        ended = self.scheduler.ended(key, self.generations[key], None, self.now)
        return self.noted(ended)

    def release(self, ticket: int) -> list[Decision]:
        return self.noted(self.scheduler.release(ticket, self.now))

    def tick(self, seconds: float) -> list[Decision]:
        self.now += seconds
        return self.noted(self.scheduler.tick(self.now))

    def busy(self, key: RunnerKey, *, job: bool = False) -> int:
        """Have a model loaded and used; the ticket of who uses it."""
        ticket, _ = self.ask(key, job=job)
        self.load(key)
        return ticket


def granted(decisions: list[Decision]) -> list[int]:
    return [decision.ticket for decision in decisions if isinstance(decision, Grant)]


def stopped(decisions: list[Decision]) -> list[RunnerKey]:
    return [decision.key for decision in decisions if isinstance(decision, Stop)]


def test_the_last_slot_is_peoples() -> None:
    """Jobs get all slots but one; people get what there is, past jobs that wait."""
    host = Host(slots=3)
    host.busy(A, job=True)
    second, decisions = host.ask(A, job=True)
    assert granted(decisions) == [second]
    third, decisions = host.ask(A, job=True)
    assert granted(decisions) == []
    person, decisions = host.ask(A)
    assert granted(decisions) == [person]
    assert granted(host.release(person)) == []
    assert granted(host.release(second)) == [third]


def test_an_only_slot() -> None:
    """One that is alone is used by a job as long as nobody else uses it."""
    host = Host(slots=1)
    person = host.busy(A)
    job, decisions = host.ask(A, job=True)
    assert granted(decisions) == []
    assert granted(host.release(person)) == [job]


def test_a_model_in_use_stays() -> None:
    """However long jobs wait for another one: no quantum ends for them."""
    host = Host()
    person = host.busy(A)
    host.ask(B, job=True)
    for _ in range(50):
        assert stopped(host.tick(5.0)) == []
        other, decisions = host.ask(A)
        assert granted(decisions) == [other]
        assert stopped(host.release(other)) == []
    assert stopped(host.release(person)) == []
    assert stopped(host.tick(0.1)) == []  # somebody has used it a moment ago
    assert stopped(host.tick(10.0)) == [A]
    assert host.generations == {A: host.generations[A]}
    host.ended(A)
    assert B in host.generations


def test_people_get_the_room_of_jobs() -> None:
    """At once, whatever time jobs had: their model takes nothing more, and goes when it is idle."""
    host = Host()
    job = host.busy(A, job=True)
    waits, _ = host.ask(A, job=True)
    host.ask(B)
    assert host.scheduler.gives_way(A, host.generations[A])
    for ticket in (job, waits):
        decisions = host.release(ticket)
    assert stopped(decisions) == [A]
    host.ended(A)
    assert B in host.generations
    assert granted(host.load(B))


def test_people_come_first_where_both_wait() -> None:
    """For the same room, also when jobs have waited for longer."""
    host = Host()
    first = host.busy(A)
    host.ask(B, job=True)
    host.tick(1.0)
    other = RunnerKey("llama.cpp", "c", "completion", "0")
    host.ask(other)
    host.tick(30.0)
    decisions = host.release(first)
    assert stopped(decisions) == [A]
    host.ended(A)
    assert other in host.generations
    assert B not in host.generations


def test_nothing_is_stranded() -> None:
    """A job that waits for room is refused in time, as everybody is, and not forgotten."""
    host = Host()
    host.busy(A)
    job, _ = host.ask(B, job=True)
    queries: Queries = host.scheduler
    host.now += TIMEOUT - 1
    assert queries.stranded(host.now) == []
    [refused] = [each for each in host.tick(2.0) if getattr(each, "ticket", None) == job]
    assert StopReason.EVICTED not in [getattr(refused, "reason", None)]


def test_jobs_wait_for_a_pause() -> None:
    """However many slots are free: until nobody is served any more, and then all go on."""
    host = Host(patience=300.0)
    first, second = host.busy(A), host.ask(A)[0]
    jobs = [host.ask(A, job=True)[0] for _ in range(2)]
    assert granted(host.release(first)) == []
    assert host.scheduler.stranded(host.now) == []
    assert granted(host.release(second)) == jobs


def test_jobs_wait_for_a_pause_of_any_model() -> None:
    """People of another model count as well; what they leave is given on in the same moment."""
    host = Host(patience=300.0)
    host.scheduler.set_limits(replace(LIMITS, capacity=2, patience=300.0), host.now)
    host.release(host.busy(B))
    person = host.busy(A)
    job, decisions = host.ask(B, job=True)
    assert granted(decisions) == []
    assert granted(host.release(person)) == [job]


def test_who_made_room_waits_longer() -> None:
    """After the last response, for a time that the scheduler wakes for."""
    host = Host(patience=300.0)
    job = host.busy(A, job=True)
    person, _ = host.ask(A)
    host.scheduler.displaced(job, host.now)
    host.release(job)
    again, decisions = host.ask(A, job=True)
    assert granted(decisions) == granted(host.release(person)) == []
    assert host.scheduler.stranded(host.now) == []
    due = host.scheduler.next_deadline()
    assert due is not None
    assert host.now < due <= host.now + 1.0
    assert granted(host.tick(due - host.now)) == [again]


def test_one_job_beside_people() -> None:
    """Where people leave no pauses one is let through, and the next one after as long again."""
    host = Host(patience=300.0)
    person = host.busy(A)
    first, second = (host.ask(A, job=True)[0] for _ in range(2))
    assert granted(host.tick(299.0)) == []
    assert granted(host.tick(1.0)) == [first]
    assert granted(host.tick(200.0)) == []
    assert granted(host.release(first)) == []
    host.ask(A, job=True)
    assert granted(host.tick(90.0)) == []
    assert granted(host.release(person)) == [second, host.ticket]


def test_the_job_beside_people_is_followed_by_one_of_another_model() -> None:
    """Where jobs have waited for too long the next one begins as that one ends, at whatever."""
    host = Host(patience=300.0)
    host.scheduler.set_limits(replace(LIMITS, capacity=2, patience=300.0), host.now)
    host.release(host.busy(B))
    job = host.busy(A, job=True)
    host.ask(A)
    host.scheduler.displaced(job, host.now)
    waiting, decisions = host.ask(B, job=True)
    assert granted(decisions) == []
    host.now += 301.0
    assert granted(host.release(job)) == [waiting]
    assert host.scheduler.stranded(host.now) == []
