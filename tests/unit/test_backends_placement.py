"""What an owner may say of devices, and what contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from runnerd.backends.placement import Placement


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"devices": "cpu"},
        {"devices": [1, 0], "shares": [3, 1], "main": 0, "split": "layer"},
        {"layers": 12, "shares": [1, 2, 3]},
    ],
)
def test_what_can_be_said(said: dict[str, Any]) -> None:
    """It stays as it was said."""
    told = Placement.model_validate(said).model_dump(exclude_unset=True, mode="json")
    assert told == said


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"devices": "cpu", "layers": 1}, "nothing to divide"),
        ({"devices": "cpu", "split": "row"}, "nothing to divide"),
        ({"devices": [0, 0]}, "named twice"),
        ({"devices": [0, 1], "shares": [1]}, "as many as devices"),
        ({"devices": [0], "main": 1}, "one of devices"),
        ({"main": 0}, "numbers"),
        ({"devices": []}, "at least 1"),
        ({"devices": [-1]}, "greater than or equal"),
        ({"devices": [True]}, "integer"),
        ({"shares": [float("nan")]}, "finite"),
        ({"gpu": 1}, "not permitted"),
    ],
)
def test_what_cannot(said: dict[str, Any], why: str) -> None:
    """The reason is told."""
    with pytest.raises(ValidationError, match=why):
        Placement.model_validate(said)
