"""The scheduler as tables of events and decisions: one runner per model, places only."""

from __future__ import annotations

from runnerd.errors import BackendFailure
from runnerd.scheduler import (
    FOREVER,
    Fault,
    Grant,
    Limits,
    Refusal,
    Refuse,
    RunnerKey,
    RunnerState,
    Scheduler,
    Start,
    Stop,
    StopReason,
    Terms,
)

COVERS = (
    "runnerd.scheduler.core",
    "runnerd.scheduler.queries",
    "runnerd.scheduler.decisions",
)


def key(name: str) -> RunnerKey:
    return RunnerKey("llama.cpp", name, "completion", "0")


A, B, C = key("a"), key("b"), key("c")
FAILURE = BackendFailure("exit status 1")


def make(*, capacity: int = 2, queue_length: int = 100, keep_alive: float = 10.0) -> Scheduler:
    return Scheduler(
        Limits(
            capacity=capacity, queue_length=queue_length, queue_timeout=60.0, keep_alive=keep_alive
        )
    )


def loaded(scheduler: Scheduler, wanted: RunnerKey, ticket: int, now: float = 0.0) -> int:
    """Bring a runner to READY with one lease; return its generation."""
    [start] = scheduler.request(ticket, wanted, now)
    assert isinstance(start, Start)
    assert scheduler.ready(wanted, start.generation, now) == [
        Grant(ticket, wanted, start.generation)
    ]
    return start.generation


def test_hundred_first_requests_start_one_process() -> None:
    """A hundred simultaneous first requests are one start and a hundred grants."""
    scheduler = make()
    decisions = [d for ticket in range(100) for d in scheduler.request(ticket, A, 0.0)]
    assert decisions == [Start(A, 1)]
    assert scheduler.ready(A, 1, 1.0) == [Grant(ticket, A, 1) for ticket in range(100)]


def test_ready_runner_is_granted_at_once() -> None:
    """A request for a runner that is ready does not wait."""
    scheduler = make()
    generation = loaded(scheduler, A, 1)
    assert scheduler.request(2, A, 1.0) == [Grant(2, A, generation)]


def test_failed_load_is_told_to_everyone_who_waits_and_not_repeated() -> None:
    """A load that the engine refuses answers all who waited for it; nothing is started again."""
    scheduler = make()
    for ticket in (1, 2, 3):
        scheduler.request(ticket, A, 0.0)
    assert scheduler.ended(A, 1, FAILURE, 1.0, fault=Fault.REFUSED) == [
        Refuse(ticket, Refusal.LOAD_FAILED, FAILURE) for ticket in (1, 2, 3)
    ]
    assert scheduler.view() == []


def test_crash_while_loading_is_made_good_once() -> None:
    """Nobody's request had reached the engine: all wait for the second try, and are told if that
    fails too; who comes then waits for the third.
    """
    scheduler = make()
    for ticket in (1, 2, 3):
        scheduler.request(ticket, A, 0.0)
    assert scheduler.ended(A, 1, FAILURE, 1.0) == [Start(A, 2)]
    scheduler.request(4, A, 1.0)
    assert scheduler.ended(A, 2, FAILURE, 2.0) == [
        Refuse(ticket, Refusal.LOAD_FAILED, FAILURE) for ticket in (1, 2, 3, 4)
    ]
    assert scheduler.request(5, A, 2.0) == []
    assert scheduler.next_deadline() == 3.0
    assert scheduler.tick(3.0) == [Start(A, 3)]
    assert scheduler.ready(A, 3, 4.0) == [Grant(5, A, 3)]


def test_load_that_follows_a_crash_in_service_has_its_second_try() -> None:
    """A crash of another kind before does not make the first failing load the second one."""
    scheduler = make()
    loaded(scheduler, A, 1)
    scheduler.ended(A, 1, FAILURE, 1.0)
    assert scheduler.request(2, A, 1.0) == [Start(A, 2)]
    assert scheduler.ended(A, 2, FAILURE, 2.0) == []
    assert scheduler.tick(3.0) == [Start(A, 3)]
    assert scheduler.ready(A, 3, 4.0) == [Grant(2, A, 3)]


def test_start_without_a_process_is_told_and_backs_off() -> None:
    """Its reason says what to do; asking again and again does not start anything each time."""
    scheduler = make()
    delays = []
    now = 0.0
    for ticket in range(7):
        [start] = scheduler.request(ticket, A, now)
        assert isinstance(start, Start)
        assert scheduler.ended(A, start.generation, FAILURE, now, fault=Fault.NOT_STARTED) == [
            Refuse(ticket, Refusal.LOAD_FAILED, FAILURE)
        ]
        [failed] = scheduler.failures()
        if failed.retry_at > now:
            assert scheduler.request(100 + ticket, A, now) == [
                Refuse(100 + ticket, Refusal.FAILING, FAILURE)
            ]
        delays.append(failed.retry_at - now)
        now = failed.retry_at
    assert delays == [0.0, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


def test_model_that_has_answered_since_is_not_failed() -> None:
    """What is on view is what holds now."""
    scheduler = make()
    for ticket in range(2):
        loaded(scheduler, A, ticket, 0.0)
        scheduler.ended(A, ticket + 1, FAILURE, 0.0)
        scheduler.tick(10.0)
    assert [view.failures for view in scheduler.failures()] == [2]
    loaded(scheduler, A, 3, 10.0)
    scheduler.release(3, 11.0)
    scheduler.tick(100.0)
    scheduler.ended(A, 3, None, 100.0)
    assert (scheduler.view(), scheduler.failures()) == ([], [])


def test_failed_load_leaves_other_models_alone() -> None:
    """Those who wait for another model are not refused when one model fails."""
    scheduler = make()
    scheduler.request(1, A, 0.0)
    scheduler.request(2, B, 0.0)
    assert scheduler.ended(A, 1, FAILURE, 1.0, fault=Fault.REFUSED) == [
        Refuse(1, Refusal.LOAD_FAILED, FAILURE)
    ]
    assert scheduler.ready(B, 2, 1.0) == [Grant(2, B, 2)]


def test_idle_runner_expires_after_its_keep_alive() -> None:
    """The idle clock runs from the last release, and the next deadline says when."""
    scheduler = make(keep_alive=10.0)
    loaded(scheduler, A, 1)
    assert scheduler.next_deadline() is None
    scheduler.release(1, 5.0)
    assert scheduler.next_deadline() == 15.0
    assert scheduler.tick(14.9) == []
    assert scheduler.tick(15.0) == [Stop(A, 1, StopReason.EXPIRED)]


def test_negative_keep_alive_never_expires() -> None:
    """A keep-alive below zero keeps the runner."""
    scheduler = make(keep_alive=-1.0)
    loaded(scheduler, A, 1)
    scheduler.release(1, 0.0)
    assert scheduler.next_deadline() is None
    assert scheduler.tick(1e9) == []


def test_zero_keep_alive_stops_at_release() -> None:
    """A keep-alive of zero stops the runner when its last lease ends."""
    scheduler = make(keep_alive=0.0)
    loaded(scheduler, A, 1)
    assert scheduler.release(1, 1.0) == [Stop(A, 1, StopReason.EXPIRED)]


def test_least_recently_used_idle_runner_is_evicted() -> None:
    """Room is made at the expense of the runner that was used least recently."""
    scheduler = make(capacity=2)
    loaded(scheduler, A, 1)
    loaded(scheduler, B, 2)
    scheduler.release(2, 1.0)
    scheduler.release(1, 2.0)
    assert scheduler.request(3, C, 3.0) == [Stop(B, 2, StopReason.EVICTED)]
    assert scheduler.ended(B, 2, None, 4.0) == [Start(C, 3)]


def test_busy_runner_is_never_evicted() -> None:
    """A request that finds only busy runners waits until one is released."""
    scheduler = make(capacity=1)
    loaded(scheduler, A, 1)
    assert scheduler.request(2, B, 1.0) == []
    assert scheduler.release(1, 2.0) == [Stop(A, 1, StopReason.EVICTED)]
    assert scheduler.ended(A, 1, None, 3.0) == [Start(B, 2)]


def test_just_loaded_runner_is_not_evicted_before_its_request_ran() -> None:
    """llama.cpp #28698: a tick or another request cannot take a runner from those it was loaded
    for.
    """
    scheduler = make(capacity=1, keep_alive=0.0)
    scheduler.request(1, A, 0.0)
    scheduler.request(2, B, 0.0)
    assert scheduler.ready(A, 1, 50.0) == [Grant(1, A, 1)]
    assert scheduler.tick(50.0) == []
    assert scheduler.release(1, 51.0) == [Stop(A, 1, StopReason.EVICTED)]


def test_two_waiting_models_do_not_evict_two_runners_for_one_place() -> None:
    """A place that is being freed is not freed twice."""
    scheduler = make(capacity=2)
    loaded(scheduler, A, 1)
    loaded(scheduler, B, 2)
    scheduler.release(1, 1.0)
    scheduler.release(2, 1.0)
    assert scheduler.request(3, C, 2.0) == [Stop(A, 1, StopReason.EVICTED)]
    assert scheduler.request(4, C, 2.0) == []


def test_withdrawn_ticket_stops_a_load_that_nobody_else_wants() -> None:
    """The load ends when the last of those who wait for it has left, not before."""
    scheduler = make()
    scheduler.request(1, A, 0.0)
    scheduler.request(2, A, 0.0)
    assert scheduler.withdraw(1, 1.0) == []
    assert scheduler.withdraw(2, 1.0) == [Stop(A, 1, StopReason.ABANDONED)]


def test_request_for_a_stopping_runner_gets_the_next_one() -> None:
    """Whoever comes while a runner stops waits for its successor."""
    scheduler = make()
    loaded(scheduler, A, 1)
    scheduler.release(1, 0.0)
    scheduler.tick(100.0)
    assert scheduler.request(2, A, 100.0) == []
    assert scheduler.ended(A, 1, None, 101.0) == [Start(A, 2)]


def test_late_event_of_an_older_generation_is_ignored() -> None:
    """A runner's end is not taken for its successor's."""
    scheduler = make()
    loaded(scheduler, A, 1)
    scheduler.ended(A, 1, FAILURE, 0.0)
    loaded(scheduler, A, 2)
    assert scheduler.ended(A, 1, FAILURE, 1.0) == []
    assert scheduler.ready(A, 1, 1.0) == []
    assert [view.state for view in scheduler.view()] == [RunnerState.READY]


def test_full_queue_refuses() -> None:
    """The queue is bounded."""
    scheduler = make(queue_length=1)
    scheduler.request(1, A, 0.0)
    assert scheduler.request(2, A, 0.0) == [Refuse(2, Refusal.QUEUE_FULL)]


def test_too_long_a_wait_is_refused_and_its_load_abandoned() -> None:
    """Nobody waits longer than the queue's timeout."""
    scheduler = make()
    scheduler.request(1, A, 0.0)
    assert scheduler.next_deadline() == 60.0
    assert scheduler.tick(60.0) == [
        Refuse(1, Refusal.QUEUE_TIMEOUT),
        Stop(A, 1, StopReason.ABANDONED),
    ]


def test_unload_spares_busy_runners() -> None:
    """Unloading stops what is idle and leaves what is in use."""
    scheduler = make()
    loaded(scheduler, A, 1)
    loaded(scheduler, B, 2)
    scheduler.release(1, 0.0)
    assert scheduler.unload(lambda key: True) == [Stop(A, 1, StopReason.UNLOADED)]


def test_unload_spares_what_is_waited_for() -> None:
    """A load that requests wait for counts as in use; an owner can insist."""
    scheduler = make()
    scheduler.request(1, A, 0.0)
    loaded(scheduler, B, 2)
    assert scheduler.unload(lambda key: True) == []
    assert scheduler.unload(lambda key: True, force=True) == [
        Refuse(1, Refusal.UNLOADED),
        Stop(A, 1, StopReason.UNLOADED),
        Stop(B, 2, StopReason.UNLOADED),
    ]


def test_drain_refuses_waits_and_lets_leases_finish() -> None:
    """Draining refuses the queue and newcomers, and stops a busy runner at its release."""
    scheduler = make()
    loaded(scheduler, A, 1)
    scheduler.request(2, B, 0.0)
    assert scheduler.drain() == [
        Refuse(2, Refusal.DRAINING),
        Stop(B, 2, StopReason.DRAINED),
    ]
    assert scheduler.request(3, A, 1.0) == [Refuse(3, Refusal.DRAINING)]
    assert scheduler.release(1, 2.0) == [Stop(A, 1, StopReason.DRAINED)]


def test_latest_lease_that_names_a_keep_alive_decides() -> None:
    """A named keep-alive replaces the default; a later lease without one leaves it."""
    scheduler = make(keep_alive=10.0)
    scheduler.request(1, A, 0.0, keep_alive=FOREVER)
    scheduler.ready(A, 1, 0.0)
    scheduler.request(2, A, 0.0)
    scheduler.release(2, 0.0)
    scheduler.release(1, 0.0)
    assert scheduler.next_deadline() is None
    scheduler.request(3, A, 1.0, keep_alive=2.0)
    assert scheduler.release(3, 1.0) == []
    assert scheduler.next_deadline() == 3.0
    scheduler.request(4, A, 2.0, keep_alive=0)
    assert scheduler.release(4, 2.0) == [Stop(A, 1, StopReason.EXPIRED)]


def test_configured_keep_alive_is_the_default_of_its_model_alone() -> None:
    """What is configured for a model counts for its runner, also for one that is there."""
    scheduler = make(keep_alive=10.0)
    scheduler.set_terms(A, Terms(keep_alive=3.0))
    loaded(scheduler, A, 1)
    loaded(scheduler, B, 2)
    scheduler.release(1, 0.0)
    scheduler.release(2, 0.0)
    assert [view.expires_at for view in scheduler.view()] == [3.0, 10.0]
    scheduler.set_terms(A, Terms())
    assert [view.keep_alive for view in scheduler.view()] == [10.0, 10.0]
