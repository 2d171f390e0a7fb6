"""runnerd.access.actions: the words that permissions are given for."""

from __future__ import annotations

import re

from runnerd.access.actions import Action


def test_each_action_is_explained_once() -> None:
    """In the table of the class, which people read when they choose one for a route."""
    table = [line for line in (Action.__doc__ or "").splitlines() if line.strip().startswith("| ")]
    words = re.findall(r"[A-Z][A-Z_]+", " ".join(line.split("|")[1] for line in table))
    assert sorted(words) == sorted(action.name for action in Action)


def test_a_value_is_its_name() -> None:
    """The audit and errors show values."""
    assert all(action.value == action.name.lower() for action in Action)
