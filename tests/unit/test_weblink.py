"""URLs of models: which are taken, what is shown of them, and which files they stand for."""

from __future__ import annotations

from typing import Any, cast

import pytest
from yarl import URL

from runnerd.errors import ClientError, InvalidReference
from runnerd.models.digest import Digest
from runnerd.pulls.weblink import file_name, offer, parse_url, shown

HEX = "a" * 64
NOBODY = cast(Any, None)  # nothing is fetched


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://me:secret@example.com/x.gguf?key=secret#sha256=1", "https://example.com/x.gguf"),
        ("HTTPS://example.com/x?signature=secret", "HTTPS://example.com/x"),
        ("https://a@b@example.com/x", "https://example.com/x"),
        ("ai/model:tag?x", "ai/model:tag?x"),
    ],
)
def test_secrets_are_not_shown(text: str, told: str) -> None:
    """Neither passwords nor the keys of signed links."""
    assert shown(text) == told


def test_a_digest_in_the_fragment() -> None:
    """It is part of the reference and not of what is asked."""
    url, digest = parse_url(f"https://example.com/x.gguf?a=b#sha256={HEX.upper()}")
    assert (str(url), digest) == ("https://example.com/x.gguf?a=b", Digest(HEX))
    assert parse_url("https://example.com/x.gguf")[1] is None


@pytest.mark.parametrize(
    "text",
    ["https://", "https:///x", "https://me@example.com/x", "https://:p@example.com/x",
     "https://example.com/\u0130", "https://example.com/\n", "https://example.com\\@evil.org/",
     "https://example.com/" + "x" * 5000, "https://example.com:99999999/x", "https://[::1/x"],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    """It is refused in words that repeat no password."""
    with pytest.raises(InvalidReference) as caught:
        parse_url(text)
    assert ":p@" not in caught.value.message


def urls(text: str, digest: Digest | None = None) -> list[str]:
    """The files that a URL stands for."""
    return [file.name for file in offer(NOBODY, URL(text), digest).files]


def test_a_split_model_is_all_of_its_files() -> None:
    """Whichever of them was named; one digest cannot stand for several."""
    split = "https://example.com/m-00002-of-00003.gguf"
    assert urls(split) == [f"m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    with pytest.raises(ClientError, match="several files"):
        urls(split, Digest(HEX))
    assert urls("https://example.com/m.gguf", Digest(HEX)) == ["m.gguf"]


@pytest.mark.parametrize("count", ["00000", "99999"])
def test_a_number_of_files_is_not_believed(count: str) -> None:
    """It comes from the client."""
    with pytest.raises(InvalidReference, match="at most"):
        urls(f"https://example.com/m-00001-of-{count}.gguf")


def test_names_of_files() -> None:
    """Decoded and bounded, and never empty."""
    assert file_name(URL("https://example.com/a%20b.gguf")) == "a b.gguf"
    assert file_name(URL("https://example.com/")) == "model"
    assert len(file_name(URL("https://example.com/" + "x" * 3000))) == 200


def test_the_parts_of_a_signed_link() -> None:
    """Each is asked for with the query that the link has."""
    url, _ = parse_url("https://x.example/m-00002-of-00003.gguf?k=1")
    found = [str(file.remote.url) for file in offer(NOBODY, url, None).files]
    assert found == [f"https://x.example/m-0000{n}-of-00003.gguf?k=1" for n in (1, 2, 3)]


@pytest.mark.parametrize("text", ["https://x/#sha256=zz", "https://x/#frag"])
def test_a_fragment_is_a_digest(text: str) -> None:
    """And nothing else."""
    with pytest.raises(InvalidReference):
        parse_url(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h.example/a.gguf?X-Amz-Signature=secret#sha256=x", "https://h.example/a.gguf"),
        ("https://user:secret@h.example/a.gguf", "https://h.example/a.gguf"),
        ("https://user:sec/ret@h.example/a.gguf", "https://user:sec/ret@h.example/a.gguf"),
        ("HTTPS://user@h.example?k=secret", "HTTPS://h.example"),
        ("hf.co/org/repo:Q4_0", "hf.co/org/repo:Q4_0"),
    ],
)
def test_what_is_shown(text: str, expected: str) -> None:
    """Neither credentials nor the query, where signed links have their key."""
    assert shown(text) == expected
