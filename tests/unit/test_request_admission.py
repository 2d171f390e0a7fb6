"""The three ways to ask for a runner, and what each leaves behind."""

from __future__ import annotations

from runnerd.scheduler import Grant, Limits, Refusal, Refuse, RunnerKey, Scheduler, Start, Terms
from runnerd.scheduler.request_admission import RequestAdmission

KEY = RunnerKey("llama.cpp", "a", "completion", "0")


def make(*, queue_length: int = 2, ready: bool = True) -> Scheduler:
    """A scheduler; `ready`: with one runner of two slots, of which one is taken (ticket 1)."""
    scheduler = Scheduler(
        Limits(
            capacity=1, queue_length=queue_length, queue_timeout=60.0, keep_alive=10.0, overcommit=1
        )
    )
    scheduler.set_terms(KEY, Terms(slots=2))
    assert isinstance(scheduler, RequestAdmission)
    if ready:
        assert scheduler.request(1, KEY, 0.0) == [Start(KEY, 1, 2)]
        scheduler.ready(KEY, 1, 0.0)
    return scheduler


def test_at_once_or_not_at_all() -> None:
    """A runner that is ready is granted; without one there is no trace of the request."""
    assert make().request_at_once(2, KEY, 1.0) == Grant(2, KEY, 1)
    empty = make(ready=False)
    assert empty.request_at_once(2, KEY, 1.0) is None
    assert empty.view() == []


def test_nobody_lines_up_for_what_is_free_or_not_there() -> None:
    """Both take a decision: a grant, or a start."""
    assert not make().line_up(2, KEY, 1.0)
    assert not make(ready=False).line_up(2, KEY, 1.0)


def test_a_line_has_an_end() -> None:
    """Who comes when the queue is full does not line up, and is refused when asking for all."""
    scheduler = make(queue_length=1)
    assert scheduler.request_at_once(2, KEY, 1.0) == Grant(2, KEY, 1)
    assert scheduler.line_up(3, KEY, 1.0)
    assert not scheduler.line_up(4, KEY, 1.0)
    assert scheduler.request(4, KEY, 1.0) == [Refuse(4, Refusal.QUEUE_FULL)]
    assert scheduler.release(1, 2.0) == [Grant(3, KEY, 1)]


def test_a_draining_scheduler_admits_nobody() -> None:
    """Whoever asks for what is not free is told that the daemon ends."""
    scheduler = make(ready=False)
    scheduler.drain()
    assert not scheduler.line_up(2, KEY, 1.0)
    assert scheduler.request(2, KEY, 1.0) == [Refuse(2, Refusal.DRAINING)]
