"""The one credential of a request, as its head says it."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.access.credentials import credential_of, has_form_of_key
from runnerd.errors import Unauthorized


def basic(pair: bytes) -> bytes:
    return b"Basic " + base64.b64encode(pair)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([], None),
        ([(b"cookie", b"key=x"), (b"authorization", b"Digest x")], None),
        ([(b"authorization", b"Bearer  abc ")], "abc"),
        ([(b"authorization", b"bEARER abc")], "abc"),
        ([(b"authorization", basic(b"anybody:abc"))], "abc"),
        ([(b"authorization", basic(b":a:b"))], "a:b"),
        ([(b"authorization", basic(b"no colon"))], None),
        ([(b"x-api-key", b" abc ")], "abc"),
        ([(b"x-api-key", b""), (b"authorization", b"Bearer abc")], "abc"),
        ([(b"x-api-key", b"abc"), (b"authorization", basic(b"u:abc"))], "abc"),
    ],
)
def test_what_counts(headers: list[tuple[bytes, bytes]], key: str | None) -> None:
    """Three spellings of a key; the same one may be said twice, and none is none."""
    assert credential_of(headers) == key


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([(b"x-api-key", b"a"), (b"authorization", b"Bearer b")], "disagree"),
        ([(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")], "disagree"),
        ([(b"authorization", b"Basic %%%")], "cannot be read"),
        ([(b"authorization", b"Bearer " + b"a" * 1025)], "not valid"),
    ],
)
def test_what_is_refused(headers: list[tuple[bytes, bytes]], said: str) -> None:
    """A proxy in front may have looked at the other one."""
    with pytest.raises(Unauthorized, match=said):
        credential_of(headers)


@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key"]), st.binary())))
def test_any_bytes_are_a_key_or_refused(headers: list[tuple[bytes, bytes]]) -> None:
    """Nothing else comes of them."""
    try:
        found = credential_of(headers)
    except Unauthorized:
        return
    assert found is None or found


@pytest.mark.parametrize(
    ("text", "is_one"), [("a" * 43, True), ("a" * 42, False), ("a" * 42 + "=", False), ("", False)]
)
def test_the_form_of_our_keys(text: str, is_one: bool) -> None:
    """32 bytes in base64url."""
    assert has_form_of_key(text) is is_one
