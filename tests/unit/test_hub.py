"""Repositories of the hub: what a name means, and what is offered under it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from runnerd.errors import (
    InvalidModelFile,
    ModelNotFound,
    SourceDenied,
    SourceFailure,
)
from runnerd.models.digest import Digest
from runnerd.models.manifest import GGUF_TYPE, MMPROJ_TYPE
from runnerd.outbound.addresses import AllowedSources
from runnerd.outbound.client import Outbound
from runnerd.pulls.hub import Hub, is_hub
from runnerd.pulls.hub_listing import HubName
from runnerd.pulls.offer import Offer
from tests.support.fileserver import answer_with
from tests.support.ggufs import projector, smallest_model
from tests.support.hub import COMMIT, HubServer, running_hub

FILES = {
    "README.md": b"# hello",
    "tiny-Q4_K_M.gguf": smallest_model() + bytes(4096),
    "mtp-tiny-Q8_0.gguf": smallest_model(),
    "mmproj-tiny-f16.gguf": projector(),
}
MUCH = 2**40  # bytes of memory


@pytest.fixture
def server() -> Iterator[HubServer]:
    with running_hub(FILES) as hub:
        yield hub


async def offered(
    server: HubServer, name: str = "hf.co/org/Tiny-GGUF", *, token: str | None = None
) -> Offer:
    outbound = Outbound(AllowedSources.parse(["127.0.0.1", "localhost"]))
    try:
        hub = Hub(outbound, server.endpoint)
        return await hub.offer(HubName.parse(name), token=token, memory_bytes=MUCH)
    finally:
        await outbound.close()


def test_what_names_the_hub() -> None:
    """Its own two hosts, in any case; no other."""
    assert is_hub("hf.co/Org/Repo")
    assert is_hub(" HuggingFace.co/o/r")
    assert not is_hub("ai/hf.co")


async def test_an_offer(server: HubServer) -> None:
    """Weights and projector by their digests at the listed commit; the draft is an offer of its
    own, under a name of its own.
    """
    found = await offered(server)
    assert [(file.name, file.media_type) for file in found.files] == [
        ("tiny-Q4_K_M.gguf", GGUF_TYPE),
        ("mmproj-tiny-f16.gguf", MMPROJ_TYPE),
    ]
    weights = found.files[0]
    content = FILES[weights.name]
    assert weights.digest == Digest(hashlib.sha256(content).hexdigest())
    assert weights.size == len(content)
    assert weights.remote.url.path == f"/org/Tiny-GGUF/resolve/{COMMIT}/{weights.name}"
    assert found.draft is not None
    assert [file.name for file in found.draft.files] == ["mtp-tiny-Q8_0.gguf"]
    assert found.draft.tag == "huggingface.co/org/tiny-gguf:mtp-tiny-Q8_0.gguf"
    assert any("Q4_K_M" in said for said in found.news)


async def test_a_draft_that_is_asked_for_is_a_model(server: HubServer) -> None:
    """It comes alone."""
    found = await offered(server, "hf.co/org/Tiny-GGUF:mtp-tiny-Q8_0.gguf")
    assert [file.name for file in found.files] == ["mtp-tiny-Q8_0.gguf"]
    assert found.draft is None


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("hf.co/org/Tiny-GGUF:Q2_K", ModelNotFound, "has no 'Q2_K'"),
        ("hf.co/org/Tiny-GGUF@v9", ModelNotFound, "no revision 'v9'"),
        ("hf.co/org/Other", SourceDenied, "does not exist or is private"),
    ],
)
async def test_what_there_is_not(
    server: HubServer, name: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        await offered(server, name)


async def test_a_private_repository(server: HubServer) -> None:
    """Who shows the token is given the list."""
    server.private = True
    with pytest.raises(SourceDenied, match="RUNNERD_HUB_TOKEN"):
        await offered(server)
    assert (await offered(server, token=server.token)).files


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (b"<html>", SourceFailure, "cannot be read"),
        (b"[" * 100000, SourceFailure, "cannot be read"),
        (b'{"siblings":[{"rfilename":"a/../../x.gguf"}]}', SourceFailure, "impossible name"),
        (
            b'{"siblings":[{"rfilename":"x.gguf","lfs":{"sha256":"../x"}}]}',
            SourceFailure,
            "impossible sha256",
        ),
        (b'{"siblings":[{"rfilename":"x.txt"}]}', InvalidModelFile, "holds no GGUF model"),
    ],
)
async def test_lists_that_are_no_lists(
    server: HubServer, body: bytes, error: type[Exception], words: str
) -> None:
    """What a hub says is never believed to be well formed."""
    server.instead = answer_with(body)
    with pytest.raises(error, match=words):
        await offered(server)
