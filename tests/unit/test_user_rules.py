"""runnerd.accounts.user_rules: what users may be called."""

from __future__ import annotations

import pytest

from runnerd.accounts.user_rules import check_name
from runnerd.errors import ClientError


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" ann ", "ann"),
        ("Zoe\u0308", "Zo\u00eb"),
        ("uid", "uid"),
        ("1.2.3", "1.2.3"),
        ("a b", "a b"),
    ],
)
def test_a_name_as_it_is_kept(text: str, name: str) -> None:
    """Without spaces around it, and in one spelling."""
    assert check_name(text) == name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("x" * 101, "100 letters"),
        ("a/b", "plain text"),
        ("a\x00b", "plain text"),
        ("a\u202eb", "plain text"),
        ("12345678-1234-5678-1234-567812345678", "an id"),
        ("12345678123456781234567812345678", "an id"),
        ("uid 1000", "the audit"),
        ("UID  7", "the audit"),
        ("127.0.0.1", "the audit"),
        ("fe80::1", "the audit"),
    ],
)
def test_what_cannot_be_one(text: str, why: str) -> None:
    """Nobody is called as something else is told apart by."""
    with pytest.raises(ClientError, match=why):
        check_name(text)
