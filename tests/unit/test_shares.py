"""Accounts of models that make room for each other, and whether clients come back."""

from __future__ import annotations

import math

import pytest

from runnerd.scheduler.shares import BOUND, Account, Returns, Shares


@pytest.fixture
def shares() -> Shares:
    """A turn of ten seconds, a queue of eighty."""
    return Shares(10.0, 80.0)


def test_who_holds_room_that_others_wait_for_is_charged(shares: Shares) -> None:
    """Nobody else, and never for time that runs backwards."""
    holder, waiting = Account(), Account()
    shares.contend([holder], [waiting])
    shares.settle(3.0)
    shares.settle(1.0)
    assert (holder.seconds, waiting.seconds) == (3.0, 0.0)


def test_nobody_gets_further_ahead_than_the_bound(shares: Shares) -> None:
    """However long a response takes."""
    holder, waiting = Account(), Account()
    shares.contend([holder], [waiting])
    shares.settle(1e6)
    assert holder.seconds == BOUND * shares.quantum
    assert shares.lead(holder) == 2 * BOUND
    assert shares.lead(waiting) == 0


def test_a_newcomer_stands_at_the_level(shares: Shares) -> None:
    """Who was away is owed nothing; who was sent away and came back at once is."""
    first, second = Account(), Account()
    shares.contend([first, second], [])
    shares.settle(20.0)
    newcomer, sent_away = Account(), Account()
    shares.place(newcomer)
    shares.keep_place(sent_away)
    assert (newcomer.seconds, sent_away.seconds) == (20.0, 0.0)


def test_debts_are_forgiven_in_time(shares: Shares) -> None:
    """A sixteenth of the time that somebody waits."""
    holder, ahead = Account(), Account(8.0)
    shares.contend([holder], [ahead])
    shares.settle(1.6)
    assert ahead.seconds == pytest.approx(7.9)
    assert shares.catches_up_at(holder, ahead, 1.6) == pytest.approx(1.6 + 6.3 / (17 / 16))
    assert shares.catches_up_at(ahead, holder, 1.6) == 1.6


@pytest.mark.parametrize(
    ("contenders", "load", "quantum"),
    [(2, 0.0, 10.0), (3, 0.0, 20 / 3), (4, 0.0, 5.0), (40, 0.0, 5.0), (2, 3.0, 10.0),
     (2, 4.0, 10.0), (4, 4.0, 8.0), (2, 1000.0, 10.0)],
)  # fmt: skip
def test_quantum(shares: Shares, contenders: int, load: float, quantum: float) -> None:
    """Twice the longest load, less among many, and never so long that others give up."""
    shares.choose_quantum(contenders, load)
    assert shares.quantum == pytest.approx(quantum)


def test_clients_that_come_back_soon_are_waited_for() -> None:
    """As long as they usually take and some more, never longer than a load."""
    returns = Returns()
    assert returns.worth_waiting(10.0) == 0.0
    for _ in range(20):
        returns.came(1.0, 10.0)
    assert 1.0 < returns.worth_waiting(10.0) < 5.0
    for _ in range(20):
        returns.came(math.inf, 10.0)
    assert returns.worth_waiting(10.0) == 0.0


def test_one_absence_weighs_no_more_than_a_load() -> None:
    """A quick return outweighs it."""
    returns = Returns()
    returns.came(math.inf, 10.0)
    returns.came(1.0, 10.0)
    assert returns.usual == 5.5
    assert 0.0 < returns.worth_waiting(10.0) <= 10.0
