"""Ids of events say nothing of how many there were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.observability.event_ids import EventIds

IDS = EventIds()


@given(st.integers(0, 2**48 - 1))
def test_there_and_back(number: int) -> None:
    """Each id is of its number, and another one each time."""
    first, second = IDS.id_of(number), IDS.id_of(number)
    assert IDS.number_of(first) == IDS.number_of(second) == number
    assert len(first) == len(second) == 25


def test_nothing_shows() -> None:
    """Neither that two are of one event, nor that one comes after the other."""
    same = {IDS.id_of(7) for _ in range(50)}
    assert len(same) > 40
    in_order = [IDS.id_of(number) for number in range(100)]
    assert in_order != sorted(in_order)


@pytest.mark.parametrize("id", ["", "x", "-", "1-2", EventIds().id_of(3), IDS.id_of(3) + "0"])
def test_what_is_none(id: str) -> None:
    """Other texts, and ids of an earlier daemon."""
    assert IDS.number_of(id) is None


@given(st.text())
def test_any_text(text: str) -> None:
    """Is no id."""
    assert IDS.number_of(text) is None
