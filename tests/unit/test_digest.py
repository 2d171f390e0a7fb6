"""The only type that becomes a store path."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.errors import InvalidReference
from runnerd.models.digest import Digest

HEX = hashlib.sha256(b"x").hexdigest()


def test_a_digest_round_trips() -> None:
    """What `of` makes, `str` writes and `parse` reads is the same value."""
    digest = Digest.of(b"x")
    assert digest.hex == HEX
    assert Digest.parse(str(digest)) == digest
    assert digest.short == HEX[:12]


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        "sha256:",
        f"sha256-{HEX}",
        f"SHA256:{HEX}",
        f"sha256:{HEX.upper()}",
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX}\n",
        f"sha256:{HEX}\0",
        f" sha256:{HEX}",
        f"sha512:{HEX}{HEX}",
        "sha256:../../../../../../../../../../../../../../../../../../../etc/passwd0",
        f"sha256:{HEX[:-1]}\N{ARABIC-INDIC DIGIT ONE}",
        f"sha256:{HEX[:-1]}/",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Traversal, case, length, other algorithms and look-alike digits are no digests."""
    with pytest.raises(InvalidReference):
        Digest.parse(text)


@given(st.text(max_size=80))
def test_only_hex_digits_are_accepted(text: str) -> None:
    """Whatever is accepted consists of 64 ASCII hex digits, so it is a harmless file name."""
    try:
        digest = Digest(text)
    except InvalidReference:
        return
    assert set(digest.hex) <= set("0123456789abcdef")
    assert len(digest.hex) == 64
