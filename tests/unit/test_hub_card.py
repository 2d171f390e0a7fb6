"""What the hub says of a repository."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from yarl import URL

from runnerd.pulls.hub_card import is_of_hub, published
from runnerd.pulls.published import Published

REPOSITORY = "makers/Tiny-GGUF"


def said(**members: Any) -> Published:
    return published(msgspec.json.encode(members), REPOSITORY)


def test_a_card() -> None:
    """Who it belongs to, its license, its page, and the tags that are for people."""
    found = said(
        id=REPOSITORY,
        author="makers",
        tags=["gguf", "text-generation", "license:apache-2.0", "region:us"],
        cardData={"license": "apache-2.0", "model_name": "Tiny"},
    )
    assert found == Published(
        name="Tiny",
        organization="makers",
        license="apache-2.0",
        homepage="https://huggingface.co/makers/Tiny-GGUF",
        tags=("gguf", "text-generation"),
    )


@pytest.mark.parametrize(
    ("members", "license"),
    [
        ({"cardData": {"license": "other", "license_name": "tiny-1.0"}}, "tiny-1.0"),
        ({"cardData": {"license": "other"}}, "other"),
        ({"cardData": {"license": ["mit", "bsd"]}}, "mit, bsd"),
        ({"tags": ["x", "license:mit"]}, "mit"),
        ({"tags": "license:mit"}, ""),
        ({}, ""),
    ],
)
def test_licenses(members: dict[str, Any], license: str) -> None:
    """In whichever of the hub's ways it is said."""
    assert said(**members).license == license


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'{"cardData": 3, "tags": {}, "author": []}', b"[" * 100_000]
)
def test_whatever_it_says(raw: bytes) -> None:
    """The repository's own name is left."""
    assert published(raw, REPOSITORY) == Published(
        name="Tiny-GGUF",
        organization="makers",
        homepage="https://huggingface.co/makers/Tiny-GGUF",
    )


def test_addresses_of_the_hub() -> None:
    """The hub's own, and those of the mirror in its place."""
    mirror = "http://mirror.example:8080/hub"
    assert is_of_hub(URL("https://huggingface.co/a/b/resolve/main/x.gguf"), mirror)
    assert is_of_hub(URL("http://mirror.example:8080/a/b"), mirror)
    assert not is_of_hub(URL("http://mirror.example/a/b"), mirror)
    assert not is_of_hub(URL("https://huggingface.co.example/a/b"), mirror)
