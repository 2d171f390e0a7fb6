"""What can be said of users, and what is told when it cannot."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from runnerd.access import Key, Permission, User, UserLimits
from runnerd.api.admin import fields
from runnerd.errors import ClientError


def test_permissions() -> None:
    """In a list or with commas, also as Pantry writes them."""
    wanted = {Permission.SESSION, Permission.LOAD_LLM}
    assert fields.permissions(["session", "load_llm"]) == wanted
    assert fields.permissions("Session, load-llm,perm_session") == wanted
    assert fields.permissions([]) == fields.permissions(None) == frozenset()


def test_limits() -> None:
    """What is not said stays; null takes one away."""
    before = UserLimits(60, 2, None, None, 5)
    said = fields.limits({"requests_per_minute": None, "context": 0, "priority": None})
    assert replace(before, **said) == UserLimits(None, 2, None, 0, 0)


def test_moments() -> None:
    """A span from now, a time, or never."""
    assert abs((fields.moment("30d") or 0) - time.time() - 30 * 86400) < 60
    assert fields.moment(5) == 5.0
    assert fields.moment(None) is fields.moment("") is fields.moment("never") is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"may": ["sesion"]}, "did you mean session?"),
        ({"may": ["fly"]}, "there are superuser"),
        ({"may": 5}, "list of names"),
        ({"may": [None]}, "list of names"),
        ({"mai": []}, "did you mean may?"),
        ({"models": ["a b"]}, "no pattern"),
        ({"models": ["x" * 300]}, "no pattern"),
        ({"models": ["x"] * 101}, "at most 100"),
        ({"expires": "soon"}, "30d"),
        ({"expires": -5}, "span"),
        ({"expires": float("inf")}, "span"),
        ({"expires": True}, "span"),
        ({"disabled": 1}, "true or false"),
        ({"name": 5}, "string"),
    ],
)
def test_what_is_wrong(said: dict[str, Any], words: str) -> None:
    """Each is told with what to do."""
    with pytest.raises(ClientError, match=words) as raised:
        fields.user_fields(said)
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    "said",
    [
        5,
        {"requests_per_minut": 1},
        {"context": -1},
        {"context": 1.5},
        {"context": True},
        {"context": 2**60},
        {"priority": 101},
        {"priority": "high"},
    ],
)
def test_limits_that_are_none(said: object) -> None:
    """Numbers, and names that there are."""
    with pytest.raises(ClientError):
        fields.limits(said)


@pytest.mark.parametrize("said", [5, "x" * 101, "a\nb"])
def test_labels(said: object) -> None:
    """A line of text."""
    with pytest.raises(ClientError):
        fields.label(said)


def test_what_is_told() -> None:
    """Everything but the key and what is kept of it."""
    key = Key("k1", "id", "DIGEST", 0.0, expires=10.0, label="laptop")
    told = fields.user_json(User("id", "ann", expires=20.0), [key], 15.0)
    assert "DIGEST" not in str(told)
    assert told["active"] is True
    assert told["keys"] == [
        {
            "id": "k1",
            "user": "ann",
            "label": "laptop",
            "created": "1970-01-01T00:00:00.000Z",
            "expires": "1970-01-01T00:00:10.000Z",
            "active": False,
        }
    ]
