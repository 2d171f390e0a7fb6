"""Which queues a worker takes from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runnerd.jobs.fleet.placement import PREFERRED, Placement, QueueView, Taking


def taken(placement: Placement, *queues: QueueView, now: float = 0.0) -> list[Taking]:
    """What is decided of each."""
    decided = placement.decide(queues, now)
    return [decided[queue.name] for queue in queues]


def test_loaded() -> None:
    """As many as slots are free, less one for people."""
    view = QueueView("a", True, slots=4, requests=0)
    assert taken(Placement(), view) == [Taking(3, PREFERRED)]
    assert taken(Placement(), QueueView("a", True, slots=4, requests=2)) == [Taking(1, PREFERRED)]
    ours = QueueView("a", True, slots=4, requests=3, running=3)
    assert taken(Placement(), ours) == [Taking(3, PREFERRED)]
    assert taken(Placement(), QueueView("a", True, slots=1)) == [Taking(1, PREFERRED)]
    assert taken(Placement(kept_free=0, most=2), view) == [Taking(2, PREFERRED)]


def test_nothing_usable() -> None:
    """A model that is not here is left to others."""
    assert taken(Placement(), QueueView("a", False, ready=9)) == [Taking()]


def test_idle() -> None:
    """Whatever comes first is taken, one of each."""
    assert taken(Placement(), QueueView("a", True), QueueView("b", True)) == [Taking(1)] * 2


def test_no_thrashing() -> None:
    """As long as the loaded model has work, others wait, but for no longer than a quantum."""
    placement = Placement(quantum=60)
    loaded = QueueView("a", True, slots=4, ready=5)
    other = QueueView("b", True, ready=3)
    assert taken(placement, loaded, other)[1] == Taking()
    assert taken(placement, loaded, other, now=59)[1] == Taking()
    assert taken(placement, loaded, other, now=60)[1] == Taking(1)
    done = QueueView("a", True, slots=4)
    assert taken(Placement(), done, other)[1] == Taking(1)


def test_others_do_it_already() -> None:
    """A queue that other workers consume is not taken up by everybody."""
    placement = Placement(quantum=60)
    loaded = QueueView("a", True, slots=4, ready=5)
    few, many = (QueueView("b", True, ready=ready, consumers=2) for ready in (10, 100))
    assert taken(placement, loaded, few, now=0)[1] == Taking()
    assert taken(placement, loaded, few, now=100)[1] == Taking()
    assert taken(placement, loaded, many, now=101)[1] == Taking(1)


@given(
    st.lists(
        st.builds(
            QueueView,
            st.text(),
            st.booleans(),
            st.none() | st.integers(0, 64),
            *[st.integers(0, 1000)] * 4,
        ),
        unique_by=lambda view: view.name,
    ),
    st.integers(0, 8),
)
def test_never_more_than_there_is(views: list[QueueView], kept_free: int) -> None:
    """Whatever the figures: no more than slots, nothing from what cannot be used."""
    decided = Placement(kept_free=kept_free).decide(views, 0.0)
    for view in views:
        taking = decided[view.name]
        assert 0 <= taking.prefetch <= (1 if view.slots is None else view.slots)
        assert view.usable or taking == Taking()
