"""What sources say of models: read whatever it is, cut to what is shown."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.errors import SourceFailure
from runnerd.pulls import published
from runnerd.pulls.published import (
    Published,
    address,
    asked,
    completed,
    line,
    lines,
    of_manifest,
    of_packed,
    tags,
)

OCI = "org.opencontainers.image."
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


def manifest(**said: str) -> bytes:
    return msgspec.json.encode({"annotations": {OCI + name: value for name, value in said.items()}})


def test_annotations() -> None:
    """OCI's names for who made it, under which license, and where its page is."""
    found = of_manifest(
        manifest(
            title="Tiny",
            vendor="Makers",
            authors="somebody",
            licenses="MIT OR Apache-2.0",
            description="For\n tests.",
            url="https://example.org/tiny",
        )
    )
    assert found == Published(
        name="Tiny",
        organization="Makers",
        license="MIT OR Apache-2.0",
        description="For tests.",
        homepage="https://example.org/tiny",
    )
    found = of_manifest(manifest(authors="somebody", source="https://example.org/code"))
    assert found == Published(organization="somebody", homepage="https://example.org/code")
    assert of_manifest(manifest(created="2026")) is None
    assert of_manifest(b"{}") is None


def test_a_packed_config() -> None:
    """ModelPack's names; several authors and licenses are one line."""
    descriptor = {
        "name": "tiny",
        "family": "tinies",
        "authors": ["a", "b"],
        "licenses": ["MIT", "Apache-2.0"],
        "docURL": "https://example.org/docs",
    }
    assert of_packed(msgspec.json.encode({"descriptor": descriptor})) == Published(
        name="tiny",
        family="tinies",
        organization="a, b",
        license="MIT, Apache-2.0",
        homepage="https://example.org/docs",
    )


def test_two_places() -> None:
    """One fills what the other leaves out."""
    one, two = Published(license="MIT"), Published(license="none", name="x", tags=("t",))
    assert completed(one, two) == Published(license="MIT", name="x", tags=("t",))
    assert completed(one, None) == completed(None, one) == one


@given(st.dictionaries(st.sampled_from(["title", "vendor", "licenses", "url", "x"]), ANYTHING))
def test_whatever_is_said(said: dict[str, Any]) -> None:
    """Nothing of it is an error, and every text is one printable line."""
    raw = msgspec.json.encode(
        {
            "annotations": {OCI + name: value for name, value in said.items()},
            "descriptor": said,
        }
    )
    for found in (of_manifest(raw), of_packed(raw)):
        for value in msgspec.structs.asdict(found or Published()).values():
            texts = value if isinstance(value, tuple) else (value,)
            assert all(text == "" or text.isprintable() for text in texts)


@given(st.binary(max_size=200))
def test_what_is_no_manifest(raw: bytes) -> None:
    """Bytes of any kind say nothing."""
    assert of_manifest(raw) is None
    assert of_packed(raw) is None


def test_how_much() -> None:
    """Texts and lists end somewhere."""
    assert len(line("x" * 10_000)) == 200
    assert line("a\x1b[31m\u202eb\nc") == "a[31mb c"
    assert line(7) == lines({}) == ""
    assert len(tags([f"t{number}" for number in range(1000)])) == 50
    assert tags(["gguf", "license:mit", "gguf", 3, ""]) == ("gguf",)
    assert tags("gguf") == ()


@pytest.mark.parametrize(
    "text",
    ["javascript:alert(1)", "https://a:b@c", "https://x y", "https://é", "https://" + "x" * 600, 1],
)
def test_no_address(text: object) -> None:
    """Pages are plain http addresses; the next one counts where it is."""
    assert address(text, "https://example.org") == "https://example.org"


async def test_a_source_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Says nothing; so does one that fails."""
    monkeypatch.setattr(published, "_PATIENCE", 0.0)

    async def silent() -> Published:
        await asyncio.Event().wait()
        raise AssertionError

    async def broken() -> Published:
        raise SourceFailure("gone")

    assert await asked(silent()) is None
    assert await asked(broken()) is None
