"""runnerd.pulls.fetching: the files of an offer become a model, each fetched once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from yarl import URL

from runnerd.errors import InsufficientStorage, InvalidModelFile
from runnerd.models.digest import Digest
from runnerd.models.manifest import GGUF_TYPE
from runnerd.models.model import Model
from runnerd.outbound.addresses import AllowedSources
from runnerd.outbound.client import Outbound
from runnerd.pulls.fetching import Fetching
from runnerd.pulls.offer import Offer, OfferedFile, Remote
from runnerd.pulls.published import Published
from runnerd.pulls.settings import PullSettings
from runnerd.pulls.transfer_tasks import TransferTask
from tests.support.fileserver import FileServer, serving
from tests.support.ggufs import smallest_model
from tests.support.stores import opened

MODEL = smallest_model()
TAG = "ai/tiny:latest"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(MODEL) as server:
        yield server


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    outbound = Outbound(AllowedSources.parse(["127.0.0.1"]))
    yield outbound
    await outbound.close()


def offer(server: FileServer, outbound: Outbound, *, digest: bool = True) -> Offer:
    content = server.behaviour.content
    remote = Remote(outbound, URL(server.url()), verified=digest)
    stated = Digest.of(content) if digest else None
    file = OfferedFile("m.gguf", GGUF_TYPE, remote, stated, len(content) if digest else None)
    return Offer((file,), name="m.gguf", published=Published(license="mit"))


def job() -> TransferTask:
    return TransferTask("pull", "ai/tiny")


def fetching(folder: Path, quota_bytes: int | None = None) -> Fetching:
    return Fetching(opened(folder / "models", quota_bytes), PullSettings)


async def test_files_become_a_model(tmp_path: Path, server: FileServer, outbound: Outbound) -> None:
    """It has its tag, what is published of it is kept, and followers see every byte."""
    files, kept = fetching(tmp_path), list[tuple[Digest, str, str | None]]()

    async def keep(model: Model, tag: str, said: Published) -> None:
        kept.append((model.id, tag, said.license))

    files.keep_published = keep
    task = job()
    model = await files.fetch(task, offer(server, outbound), TAG)
    assert model.tags == (TAG,)
    assert kept == [(model.id, TAG, "mit")]
    assert task.moved
    assert [(each.name, each.layer_current) for each in task.files()] == [("m.gguf", len(MODEL))]


async def test_what_is_here_is_not_fetched(
    tmp_path: Path, server: FileServer, outbound: Outbound
) -> None:
    """Nor is it twice where two want it at once."""
    files = fetching(tmp_path)
    both = (files.fetch(job(), offer(server, outbound), tag) for tag in (TAG, "ai/other:latest"))
    one, other = await asyncio.gather(*both)
    assert one.id == other.id
    assert server.sent == len(MODEL)
    again = job()
    await files.fetch(again, offer(server, outbound), TAG)
    assert not again.moved
    assert server.sent == len(MODEL)


async def test_there_is_no_room(tmp_path: Path, server: FileServer, outbound: Outbound) -> None:
    """That is said before the first byte."""
    with pytest.raises(InsufficientStorage):
        await fetching(tmp_path, 1).fetch(job(), offer(server, outbound), TAG)
    assert server.sent == 0


async def test_what_is_no_model_does_not_stay(
    tmp_path: Path, server: FileServer, outbound: Outbound
) -> None:
    """It was fetched right, and would be again."""
    server.behaviour.content = b"no model at all"
    with pytest.raises(InvalidModelFile):
        await fetching(tmp_path).fetch(job(), offer(server, outbound, digest=False), TAG)
    assert not any((tmp_path / "models" / "parts").iterdir())
