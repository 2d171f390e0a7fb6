"""runnerd.relay.body_budget: what is left for others, whoever takes what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runnerd.limit_settings import Limits
from runnerd.relay.body_budget import BodyBudget

MIB = 2**20
LIMITS = Limits(body_bytes=64 * MIB, buffered_bytes=512 * MIB)


def take(budget: BodyBudget, principal: str, *, unix: bool = False) -> int:
    """Return how many MiB a principal gets that wants all that it can have."""
    got = 0
    while budget.hold(MIB, unix):
        if not budget.claim(principal, MIB, unix):
            budget.let_go(MIB)
            break
        got += 1
    return got


def test_one_principal_has_half_at_most_and_the_next_one_a_half_of_the_rest() -> None:
    """Of what TCP may have."""
    budget = BodyBudget(LIMITS)
    assert take(budget, "a") == 224
    assert take(budget, "b") == 112
    assert take(budget, "a") == 0


def test_unix_socket_has_room_for_a_body_when_tcp_has_taken_all() -> None:
    """However many strangers there are."""
    budget = BodyBudget(LIMITS)
    for number in range(100):
        take(budget, str(number))
    assert budget.held <= 448 * MIB
    assert take(budget, "uid 0", unix=True) >= 64


def test_whole_body_is_never_too_much_for_who_is_alone() -> None:
    """Also where an owner has set both limits alike."""
    budget = BodyBudget(Limits(body_bytes=64 * MIB, buffered_bytes=64 * MIB))
    assert take(budget, "a") == 64


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 80 * MIB), st.booleans())))
def test_what_is_given_back_can_be_had_again(taken: list[tuple[str, int, bool]]) -> None:
    """Nothing is left behind, and never is more held than the limit."""
    budget, held = BodyBudget(LIMITS), []
    for principal, size, unix in taken:
        if budget.hold(size, unix):
            if budget.claim(principal, size, unix):
                held.append((principal, size, unix))
            else:
                budget.let_go(size)
        assert budget.held == sum(size for _, size, _ in held) <= LIMITS.buffered_bytes
    for principal, size, unix in held:
        budget.let_go(size)
        budget.give_back(principal, size, unix)
    assert take(budget, "a") == 224
