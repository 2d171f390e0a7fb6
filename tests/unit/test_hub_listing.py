"""Repositories of the hub: how they are called, and what of a listing is believed."""

from __future__ import annotations

import msgspec
import pytest

from runnerd.errors import InvalidReference, SourceFailure
from runnerd.pulls.hub_listing import HubName, decoded

NAME = HubName.parse("hf.co/o/r@v2")


@pytest.mark.parametrize(
    ("text", "repository", "revision", "label", "tag"),
    [
        ("hf.co/Org/Repo", "Org/Repo", "main", None, "huggingface.co/org/repo:latest"),
        ("hf.co/Org/Repo:latest", "Org/Repo", "main", None, "huggingface.co/org/repo:latest"),
        ("HF.co/o/r:Q4_K_M", "o/r", "main", "Q4_K_M", "huggingface.co/o/r:Q4_K_M"),
        ("huggingface.co/o/r@v2", "o/r", "v2", None, "huggingface.co/o/r:latest"),
        ("hf.co/o/r@refs/pr/1:Q8_0", "o/r", "refs/pr/1", "Q8_0", "huggingface.co/o/r:Q8_0"),
    ],
)
def test_hub_names(text: str, repository: str, revision: str, label: str | None, tag: str) -> None:
    """The hub's names keep their case, tags are as references are."""
    name = HubName.parse(text)
    assert (name.repository, name.revision, name.label) == (repository, revision, label)
    assert str(name.reference) == tag


@pytest.mark.parametrize(
    "text", ["hf.co/o", "hf.co/o/r/x", "hf.co/../r", "hf.co/o/r@../x", "hf.co/o/r@a b", "hf.co/"]
)
def test_names_that_the_hub_cannot_have(text: str) -> None:
    """A name that could leave its place in a URL is refused."""
    with pytest.raises(InvalidReference):
        HubName.parse(text)


def test_a_listing() -> None:
    """Sizes are never below nothing; what is no commit is not taken for one."""
    sha = "ab" * 32
    files = [
        {"rfilename": "m.gguf", "size": 7, "lfs": {"sha256": sha}},
        {"rfilename": "README.md", "size": -1},
    ]
    listed = decoded(msgspec.json.encode({"sha": "c" * 40, "siblings": files}), NAME)
    assert listed.commit == "c" * 40
    assert [(file.path, file.size) for file in listed.files] == [("m.gguf", 7), ("README.md", 0)]
    assert [file.digest and file.digest.hex for file in listed.files] == [sha, None]
    assert decoded(b'{"sha": "../x"}', NAME).commit == "v2"


@pytest.mark.parametrize(
    "listing",
    [
        b"<html>",
        b"[" * 10_000,
        b'{"siblings": [{"rfilename": "../m.gguf"}]}',
        b'{"siblings": [{"rfilename": "/m.gguf"}]}',
        b'{"siblings": [{"rfilename": "m.gguf", "lfs": {"sha256": "../../x"}}]}',
    ],
)
def test_listings_that_are_refused(listing: bytes) -> None:
    """A name that leaves its folder, a digest that is none, and what is no JSON."""
    with pytest.raises(SourceFailure):
        decoded(listing, NAME)
