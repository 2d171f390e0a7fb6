"""The one credential of a head, whichever form it has."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.access.credentials import credential_of, has_form_of_key
from runnerd.errors import Unauthorized

KEY, OTHER = "k" * 43, "o" * 43


def basic(user: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer " + KEY.encode())],
        [(b"authorization", b"bearer   " + KEY.encode() + b" ")],
        [(b"authorization", basic("anybody", KEY))],
        [(b"authorization", basic("", KEY))],
        [(b"x-api-key", KEY.encode())],
        [(b"x-api-key", KEY.encode()), (b"authorization", b"Bearer " + KEY.encode())],
        [(b"x-api-key", KEY.encode()), (b"authorization", b"Negotiate abc")],
        [(b"x-api-key", KEY.encode()), (b"authorization", b"Bearer ")],
        [(b"host", b"x"), (b"x-api-key", KEY.encode()), (b"cookie", b"key=" + OTHER.encode())],
    ],
)
def test_forms(headers: list[tuple[bytes, bytes]]) -> None:
    """Each of them counts, and the same key may be said twice."""
    assert credential_of(headers) == KEY


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", KEY.encode())],
        [(b"authorization", b"Digest username=x")],
        [(b"authorization", basic("user", ""))],
        [(b"proxy-authorization", b"Bearer " + KEY.encode())],
        [(b"cookie", b"x-api-key=" + KEY.encode())],
    ],
)
def test_what_is_none(headers: list[tuple[bytes, bytes]]) -> None:
    """Nothing else is a credential."""
    assert credential_of(headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-api-key", KEY.encode()), (b"authorization", b"Bearer " + OTHER.encode())],
        [(b"x-api-key", KEY.encode()), (b"x-api-key", OTHER.encode())],
        [(b"authorization", b"Bearer " + KEY.encode()), (b"authorization", basic("", OTHER))],
        [(b"authorization", b"Basic !!!")],
        [(b"x-api-key", b"x" * 2000)],
    ],
)
def test_what_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    """Two that disagree, and what cannot be read; without a word of what was sent."""
    with pytest.raises(Unauthorized) as refused:
        credential_of(headers)
    assert KEY not in refused.value.message
    assert OTHER not in refused.value.message


@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key"]), st.binary())))
def test_any_bytes(headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever is sent is a text, nothing, or a refusal."""
    try:
        found = credential_of(headers)
    except Unauthorized:
        return
    assert found is None or found != ""


def test_the_form_of_a_key() -> None:
    """43 characters of base64url, and no others."""
    assert has_form_of_key(KEY)
    for text in ("", "unused", KEY[1:], KEY + "k", KEY[1:] + "!", KEY + "\n"):
        assert not has_form_of_key(text)
