"""When a model that failed is tried again, and who is told meanwhile."""

from __future__ import annotations

import pytest

from runnerd.errors import BackendFailure
from runnerd.scheduler.decisions import Fault
from runnerd.scheduler.failure_history import FailureHistory

FAILURE = BackendFailure("it died")


def failed(history: FailureHistory, *times: float, fault: Fault = Fault.CRASH) -> FailureHistory:
    """Record failures while loading."""
    for now in times:
        history.record(FAILURE, fault, now, served=None, jitter=1.0)
    return history


def test_the_first_crash_is_made_good_at_once() -> None:
    """The next ones after 1, 2, 4 seconds; jitter makes that longer."""
    history = FailureHistory()
    delays = []
    for number in range(4):
        failed(history, 10.0 * number)
        delays.append(history.retry_at - 10.0 * number)
    assert delays == [0.0, 1.0, 2.0, 4.0]
    history.record(FAILURE, Fault.CRASH, 100.0, served=None, jitter=1.5)
    assert history.retry_at == 112.0


def test_the_fifth_within_ten_minutes_opens_the_circuit() -> None:
    """Not where they are further apart."""
    assert not failed(FailureHistory(), *range(4)).refuses
    assert failed(FailureHistory(), *range(5)).refuses
    apart = failed(FailureHistory(), 0.0, 201.0, 400.0, 600.5, 800.0)
    assert not apart.refuses
    assert apart.failures == 4


@pytest.mark.parametrize(
    ("fault", "refuses", "delay", "unasked"),
    [
        (Fault.CRASH, False, 0.0, 0.0),
        (Fault.REFUSED, True, 60.0, 60.0),
        (Fault.NOT_STARTED, True, 0.0, 60.0),
    ],
)
def test_what_kind_of_failure_it_was(
    fault: Fault, refuses: bool, delay: float, unasked: float
) -> None:
    """What the engine refuses it refuses again; what was not started may be mended by now."""
    history = failed(FailureHistory(), 100.0, fault=fault)
    assert (history.refuses, history.retry_at, history.unasked_at) == (
        refuses,
        100.0 + delay,
        100.0 + unasked,
    )


def test_tries_without_a_process_are_never_far_apart() -> None:
    """They cost next to nothing."""
    history = failed(FailureHistory(), *range(20), fault=Fault.NOT_STARTED)
    assert history.retry_at == 19.0 + 5.0


def test_who_waits_is_told_at_the_second_failed_load() -> None:
    """One crash while loading is nobody's fault; a runner that was ready begins anew."""
    history = failed(FailureHistory(), 0.0)
    assert not history.tells
    assert failed(history, 1.0).tells
    history.loaded()
    assert not history.tells
    assert not failed(history, 2.0).tells


def test_good_service_makes_a_crash_a_first_one() -> None:
    """Five minutes of it."""
    for served, delay in ((299.0, 8.0), (300.0, 0.0)):
        history = failed(FailureHistory(), *range(4))
        history.record(FAILURE, Fault.CRASH, 500.0, served=served, jitter=1.0)
        assert history.retry_at == 500.0 + delay


def test_what_is_on_view() -> None:
    """A model that has answered is not failed any more, though its crashes still count."""
    history = failed(FailureHistory(), *range(5))
    shown = [history.failure]
    history.answered()
    assert [*shown, history.failure] == [FAILURE, None]
    assert (history.refuses, history.failures) == (False, 5)
    assert history.stale(5.0)
    history.clear()
    assert history == FailureHistory()


def test_stale() -> None:
    """Only when neither the next try nor the window lies ahead."""
    history = failed(FailureHistory(), 0.0)
    assert not history.stale(600.0)
    assert history.stale(600.1)
