"""What a response brings goes into the part: in batches, hashed, and no web page for a model."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import aiohttp
import pytest
from yarl import URL

from runnerd.errors import InvalidModelFile, SourceFailure
from runnerd.models.digest import Digest
from runnerd.models.layout import Layout
from runnerd.models.manifest import GGUF_TYPE
from runnerd.models.parts import Part
from runnerd.outbound.addresses import AllowedSources
from runnerd.outbound.client import Outbound
from runnerd.pulls.offer import OfferedFile, Remote
from runnerd.pulls.piece_writer import PieceWriter

CONTENT = b"GGUF" + bytes(range(256)) * 40


class _Response:
    """A response that brings its body in small pieces."""

    url = URL("http://source.example/m.gguf")

    def __init__(self, body: bytes) -> None:
        self.content = self
        self._body = body

    async def readany(self) -> bytes:
        piece, self._body = self._body[:1000], self._body[1000:]
        return piece


class _Written:
    """A part of the whole file, and who writes it; `reported` counts the batches."""

    def __init__(self, folder: Path, http: Outbound) -> None:
        layout = Layout(folder)
        layout.create()
        digest = Digest.of(CONTENT)
        self.part = Part(layout, digest)
        self.part.open(len(CONTENT))
        self.part.begin_stream(len(CONTENT))
        self.reported = 0
        remote = Remote(http, _Response.url, verified=True)
        file = OfferedFile("m.gguf", GGUF_TYPE, remote, digest, len(CONTENT))
        self.writer = PieceWriter(file, self.part, self._report)

    def _report(self) -> None:
        self.reported += 1

    async def receive(self, body: bytes) -> None:
        response = cast("aiohttp.ClientResponse", _Response(body))
        try:
            await self.writer.receive(response, self.part.pieces[0])
            self.writer.all_is_there()
            await self.writer.follow()
        finally:
            self.part.close()


@pytest.fixture
async def written(tmp_path: Path) -> _Written:
    """An empty part."""
    outbound = Outbound(AllowedSources.parse([]))
    await outbound.close()
    return _Written(tmp_path / "store", outbound)


async def test_a_whole_file(written: _Written) -> None:
    """Small pieces are written together; all of it is hashed when it is there."""
    await written.receive(CONTENT)
    assert (written.part.received, written.part.behind) == (len(CONTENT), 0)
    assert written.reported == 1


async def test_a_file_that_ends_early(written: _Written) -> None:
    """What has come is written, and the rest missed."""
    with pytest.raises(SourceFailure, match="ended the file before its end"):
        await written.receive(CONTENT[:5000])
    assert written.part.received == 5000


async def test_a_page_in_place_of_a_model(written: _Written) -> None:
    """It is refused with its first bytes, and nothing of it is kept."""
    with pytest.raises(InvalidModelFile, match="not a GGUF file"):
        await written.receive(b"<html>" + CONTENT[6:])
    assert written.part.received == 0
