"""What people type to name a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.errors import InvalidReference
from runnerd.models.reference import Reference, one_spelling

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("smollm2", "ai/smollm2:latest"),
        (" smollm2 ", "ai/smollm2:latest"),
        ("SmolLM2:360M-Q4_K_M", "ai/smollm2:360M-Q4_K_M"),
        ("ai/smollm2", "ai/smollm2:latest"),
        ("docker.io/ai/smollm2:latest", "ai/smollm2:latest"),
        ("docker.io/smollm2", "ai/smollm2:latest"),
        ("index.docker.io/ai/smollm2", "ai/smollm2:latest"),
        ("hf.co/Org/Repo-GGUF:Q4_K_M", "huggingface.co/org/repo-gguf:Q4_K_M"),
        ("huggingface.co/org/repo", "huggingface.co/org/repo:latest"),
        ("www.huggingface.co/Org/repo:Q", "huggingface.co/org/repo:Q"),
        ("WWW.hf.co/org/repo", "huggingface.co/org/repo:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("registry.example.com:5000/a/b/c:t", "registry.example.com:5000/a/b/c:t"),
        (f"smollm2@sha256:{HEX}", f"ai/smollm2@sha256:{HEX}"),
        (f"smollm2:1@sha256:{HEX}", f"ai/smollm2:1@sha256:{HEX}"),
        ("my.model", "ai/my.model:latest"),
    ],
)
def test_the_canonical_form(text: str, canonical: str) -> None:
    """Defaults are filled in, aliases replaced, the name lower-cased, the tag kept."""
    assert str(Reference.parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("HF.co/Org/Repo:Q4_K_M", "huggingface.co/org/repo:Q4_K_M"),
        ("https://huggingface.co/Org/Repo", "huggingface.co/org/repo"),
        ("docker.io/ai/smollm2:latest", "smollm2"),
        (f"sha256:{HEX}", f"sha256:{HEX}"),
        (HEX, HEX),
        ("no name!", "no name!"),
    ],
)
def test_one_spelling(text: str, spelling: str) -> None:
    """Of all that a name can be written as; what is none stays."""
    assert one_spelling(text) == one_spelling(spelling) == spelling


@pytest.mark.parametrize(
    ("text", "familiar"),
    [
        ("docker.io/ai/smollm2:latest", "smollm2"),
        ("smollm2:360M", "smollm2:360M"),
        ("org/model", "org/model"),
        ("hf.co/org/repo:Q4_K_M", "huggingface.co/org/repo:Q4_K_M"),
        ("ai/a/b", "ai/a/b"),
    ],
)
def test_the_familiar_form(text: str, familiar: str) -> None:
    """For display the default organisation and tag are left out."""
    assert Reference.parse(text).familiar == familiar


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "..",
        "../x",
        "a/../b",
        "a/..",
        "/etc/passwd",
        "./x",
        ".hidden",
        "-flag",
        "a//b",
        "a/",
        "a/.b",
        "a:",
        "a:.t",
        "a:-t",
        "a:t..u",
        "a:b:c",
        "a:" + "t" * 129,
        "a" * 256,
        "a/" * 300 + "a",
        "a@",
        "a@sha256:123",
        f"a@sha512:{HEX}",
        f"sha256:{HEX}",
        "sha256",
        HEX,
        f"ai/{HEX}",
        "a b",
        "a\nb",
        "a\0b",
        "a\x1b[31m",
        "a\\b",
        "a%2e%2e",
        "http://host/a",
        "docker.io/foo.bar/baz",
        "docker.io/localhost/x",
        "host..com/x",
        "host.com:99999999/x",
        "\N{KELVIN SIGN}ubelwagen",
        "modèle",
    ],
)
def test_what_is_not_a_reference(text: str) -> None:
    """Path tricks, control characters, look-alikes, ids and overlong parts are refused."""
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()


_ALPHABET = "abAB01._-/:@"
_LIKELY = st.text(_ALPHABET, max_size=40) | st.from_regex(
    r"([a-z.]{1,8}(:[0-9]{1,4})?/)?[A-Za-z0-9._-]{1,9}(/[a-z._-]{1,5})?(:[A-Za-z0-9._-]{1,6})?",
    fullmatch=True,
)


@given(_LIKELY | st.text(max_size=40))
def test_whatever_is_accepted_is_stable_and_harmless(text: str) -> None:
    """An accepted reference reads back as itself, in both forms, and holds no path tricks."""
    try:
        reference = Reference.parse(text)
    except InvalidReference:
        return
    written = str(reference)
    assert Reference.parse(written) == reference
    assert Reference.parse(reference.familiar) == reference
    assert written.isascii()
    assert written.isprintable()
    assert ".." not in written
    for component in written.split("/"):
        assert component
        assert component[0] not in ".-"
