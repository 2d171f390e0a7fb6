"""What was used longest ago makes room."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.lru import Lru


def test_the_oldest_goes() -> None:
    """Noting and using are uses, looking is none."""
    kept: Lru[str, int] = Lru(2)
    kept.note("a", 1)
    kept.note("b", 2)
    assert kept.use("a") == 1
    assert kept.get("b") == 2
    kept.note("c", 3)
    assert list(kept.items()) == [("a", 1), ("c", 3)]
    kept.note("a", 4)
    assert kept.oldest() == "c"
    assert kept == {"c": 3, "a": 4}


def test_what_is_not_there() -> None:
    """Nothing becomes an entry by being asked for."""
    kept: Lru[str, int] = Lru(2)
    with pytest.raises(KeyError):
        kept.use("a")
    assert not kept


def test_without_a_limit() -> None:
    """Who counts otherwise takes the oldest out."""
    kept: Lru[int, None] = Lru()
    for n in range(1000):
        kept.note(n, None)
    assert (len(kept), kept.oldest()) == (1000, 0)


@given(st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.integers(0, 6))))
def test_as_an_ordered_dictionary(most: int, steps: list[tuple[bool, int]]) -> None:
    """The same as the standard library's, moved and cut by hand."""
    kept: Lru[int, int] = Lru(most)
    model: OrderedDict[int, int] = OrderedDict()
    for number, (noted, key) in enumerate(steps):
        if noted:
            kept.note(key, number)
            model[key] = number
            model.move_to_end(key)
            if len(model) > most:
                model.popitem(last=False)
        elif key in model:
            assert kept.use(key) == model[key]
            model.move_to_end(key)
        assert list(kept.items()) == list(model.items())
