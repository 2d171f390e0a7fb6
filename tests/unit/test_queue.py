"""Who waits, and whose turn is next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runnerd.scheduler.decisions import RunnerKey
from runnerd.scheduler.queue import BACKGROUND, Queue

KEY = RunnerKey("llama.cpp", "m", "completion", "")
OTHER = KEY._replace(model="n")


def served(queue: Queue, key: RunnerKey = KEY, *, leave: int = 0) -> list[int]:
    """The tickets of a key in the order of their turns; they are out then, but for the last."""
    order = []
    while queue.count(key) > leave and (first := queue.first(key)) is not None:
        order.append(first.ticket)
        queue.serve(first)
    return order


def test_clients_take_turns() -> None:
    """Who asks for much at once stands behind itself."""
    queue = Queue()
    for ticket in range(3):
        queue.add(ticket, KEY, 0.0, client="greedy")
    queue.add(3, KEY, 0.0, client="modest")
    assert served(queue) == [0, 3, 1, 2]


def test_who_comes_later_waits_for_one_of_each_at_most() -> None:
    """Not for everything that others had asked for before."""
    queue = Queue()
    for ticket in range(10):
        queue.add(ticket, KEY, 0.0, client="greedy")
    for _ in range(5):
        first = queue.first(KEY)
        assert first is not None
        queue.serve(first)
    queue.add(10, KEY, 0.0, client="new")
    assert served(queue)[:2] == [5, 10]


def test_priority_is_a_head_start_and_no_more() -> None:
    """It goes first, but nobody is passed for ever."""
    queue = Queue()
    queue.add(0, KEY, 0.0, client="patient")
    queue.add(1, KEY, 0.0, client="urgent", priority=1)
    assert queue.first(KEY) == queue.first(KEY)
    first = queue.first(KEY)
    assert first is not None
    assert first.ticket == 1
    for ticket in range(2, 40):
        queue.add(ticket, KEY, 0.0, client="urgent", priority=1)
    assert served(queue).index(0) <= 17


def test_who_holds_nothing_comes_first() -> None:
    """Whatever the turns and priorities of those who hold places, which may change while they
    wait; what nobody waits for stays behind.
    """
    held = {"busy": 1}
    queue = Queue(lambda key, client: held.get(client, 0))
    queue.add(0, KEY, 0.0, client="busy", priority=1)
    queue.add(1, KEY, 0.0, client="batch", priority=BACKGROUND)
    queue.add(2, KEY, 0.0, client="new")
    assert served(queue, leave=1) == [2, 0]
    queue.add(3, KEY, 0.0, client="busy")
    queue.add(4, KEY, 0.0, client="new")
    held["new"] = held.pop("busy")
    for client in ("busy", "new"):
        queue.moved(KEY, client)
    assert served(queue) == [3, 4, 1]


def test_clients_are_passed_over() -> None:
    """And stay where they are."""
    queue = Queue()
    for ticket, client in enumerate("aabc"):
        queue.add(ticket, KEY, 0.0, client=client)
    second = queue.first(KEY, ("a",))
    assert second is not None
    assert second.ticket == 2
    assert queue.first(KEY, ("a", "b", "c")) is None
    assert served(queue) == [0, 2, 3, 1]


def test_what_is_known_of_a_long_line_is_bounded() -> None:
    """However often clients begin and cease to hold places."""
    held: dict[str, int] = {}
    queue = Queue(lambda key, client: held.get(client, 0))
    for ticket, client in enumerate("abc"):
        queue.add(ticket, KEY, 0.0, client=client)
    for number in range(1000):
        held["a"] = number % 2
        queue.moved(KEY, "a")
    assert len(queue.lines[KEY]._heads) < 30
    assert served(queue) == [1, 2, 0]


def test_models_wait_beside_each_other() -> None:
    """Each key has its own line, and those whose turn is next come first."""
    queue = Queue()
    queue.add(0, OTHER, 0.0, client="a")
    queue.add(1, OTHER, 0.0, client="a")
    queue.add(2, KEY, 0.0, client="b")
    assert queue.keys() == [OTHER, KEY]
    queue.remove(0)
    assert queue.keys() == [KEY, OTHER]
    assert (queue.count(KEY), queue.tickets(OTHER), len(queue)) == (1, [1], 2)


def test_who_leaves_is_forgotten() -> None:
    """Twice is once, and a client of which nobody waits has no past."""
    queue = Queue()
    queue.add(0, KEY, 0.0, client="a")
    gone = queue.remove(0)
    assert gone is not None
    assert gone.client == "a"
    assert queue.remove(0) is None
    assert queue.first(KEY) is None
    assert (len(queue), queue.keys(), queue._clients, queue._last_turn) == (0, [], {}, {})


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([KEY, OTHER]), st.integers(-2, 2)),
        max_size=30,
    ),
    st.sets(st.integers(0, 29)),
)
def test_everybody_is_served_once(asked: list[tuple[str, RunnerKey, int]], left: set[int]) -> None:
    """Whatever was asked for and whoever left."""
    queue = Queue()
    for ticket, (client, key, priority) in enumerate(asked):
        queue.add(ticket, key, 0.0, client=client, priority=priority)
    for ticket in left:
        queue.remove(ticket)
    order = served(queue) + served(queue, OTHER)
    assert sorted(order) == [ticket for ticket in range(len(asked)) if ticket not in left]
    assert len(queue) == 0
