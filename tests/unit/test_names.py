"""runnerd.backends.names: which spellings are one model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.backends.names import ModelNames
from runnerd.models.reference import Reference

ID = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "name",
    ["tiny", "ai/tiny", "tiny:latest", "AI/Tiny", "docker.io/ai/tiny:latest", ID, ID[7:], ID[7:19]],
)
def test_own_names(name: str) -> None:
    """The id, and every spelling of the reference."""
    assert name in ModelNames(ID, "ai/tiny:latest")
    assert name in ModelNames(ID, "tiny")


@pytest.mark.parametrize(
    "name",
    ["", "other", "tiny:q8", "tiny:LATEST", "me/tiny", "hf.co/ai/tiny", ID[:-1], ID[7:18], "@"],
)
def test_other_names(name: str) -> None:
    """Another tag, organisation, registry or a part of the id is another model."""
    assert name not in ModelNames(ID, "ai/tiny:latest")


_WORDS = st.sampled_from(
    ["tiny", "Tiny", "ai", "me", "hf.co", "huggingface.co", "docker.io", "x.y:5000"]
)
_REFERENCES = st.builds(
    lambda parts, tag: "/".join(parts) + tag,
    st.lists(_WORDS, min_size=1, max_size=3),
    st.sampled_from(["", ":latest", ":q4", ":Q4", f"@{ID}", f":q4@{ID}"]),
)


@given(_REFERENCES, _REFERENCES)
def test_it_agrees_with_the_reference_grammar(one: str, other: str) -> None:
    """Two valid references are one name here exactly when they are one reference in the store."""
    try:
        same = Reference.parse(one) == Reference.parse(other)
    except Exception:
        return  # not references at all
    if Reference.parse(other).digest is not None and not same:
        return  # with a digest the tag decides nothing
    assert (other in ModelNames(ID, one)) == same
