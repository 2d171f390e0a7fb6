"""Fetches the headers of a model that is elsewhere, in ranges, and nothing of its weights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from runnerd import threads
from runnerd.backends.model_files import ModelFiles
from runnerd.errors import InvalidModelFile, SourceFailure
from runnerd.models.gguf_header import GGUFHeader
from runnerd.models.manifest import GGUF_TYPE, MMPROJ_TYPE
from runnerd.models.outlines import Outlines, outlined, write_outline
from runnerd.pulls.asker import Asker
from runnerd.pulls.offer import OfferedFile, Remote
from runnerd.pulls.pulling import Pulls
from runnerd.pulls.ranges import content_range

_AT_ONCE = 2
_STEPS = (2**20, 8 * 2**20, 24 * 2**20, 64 * 2**20)  # bytes of a file that are fetched, in turn
_MOST_FILES = 32


@dataclass(frozen=True, slots=True)
class Outline:
    """A model that is elsewhere, which a backend knows by `id`; a pull would fetch `bytes`."""

    id: str
    files: ModelFiles
    bytes: int


class Outlining:
    """Makes outlines, a few at a time."""

    def __init__(self, pulls: Pulls, outlines: Outlines) -> None:
        self._pulls = pulls
        self._outlines = outlines
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @asynccontextmanager
    async def outline(self, reference: str, *, asker: Asker) -> AsyncIterator[Outline]:
        """The outline of what `reference` names, for the length of a block.

        Raises as a pull does, and errors.InvalidModelFile where a header cannot be read.
        """
        async with self._turns:
            offer = await self._pulls.offer(reference, asker=asker)
            weights = [file for file in offer.files if file.media_type == GGUF_TYPE]
            if not 0 < len(weights) <= _MOST_FILES:
                raise InvalidModelFile(
                    f"{reference} has no files of weights that can be read ahead"
                )
            mmproj = next((each for each in offer.files if each.media_type == MMPROJ_TYPE), None)
            folder = await threads.run_or_undo(
                self._outlines.make_folder, undo=self._outlines.remove
            )
            try:
                found = await self._files(folder, weights, mmproj)
                id = f"outline {folder.name}"
                total = sum(file.size or 0 for file in offer.files) or found.weights_bytes
                with self._outlines.known(id, found):
                    yield Outline(id, found, total)
            finally:
                await threads.run_to_end(self._outlines.remove, folder)

    async def _files(
        self, folder: Path, weights: list[OfferedFile], mmproj: OfferedFile | None
    ) -> ModelFiles:
        paths = [folder / name for name in _names(len(weights))]
        headers = [await _header(file, path) for file, path in zip(weights, paths, strict=True)]
        projector = None
        if mmproj is not None:
            projector = folder / "model.mmproj"
            await _header(mmproj, projector)
        return await threads.run(outlined, headers, paths, projector)


def _names(count: int) -> list[str]:
    """Names by which an engine finds the further files beside the first."""
    if count == 1:
        return ["model.gguf"]
    return [f"model-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]


async def _header(file: OfferedFile, path: Path) -> GGUFHeader:
    """Fetch as much of a file as its header takes.  Raises errors.InvalidModelFile."""
    start, size = b"", file.size
    for upto in _STEPS:
        start, told = await _more(file.remote, start, upto)
        size = told or size or len(start)
        header = await threads.run(write_outline, path, start, size)
        if header is not None:
            return header
        if len(start) >= size:
            break
    raise InvalidModelFile(f"the header of {file.name} is longer than {_STEPS[-1]} bytes")


async def _more(remote: Remote, start: bytes, upto: int) -> tuple[bytes, int | None]:
    """The file up to some byte, of which `start` is here already; and its size if that is said."""
    async with remote.open({"Range": f"bytes={len(start)}-{upto - 1}"}) as response:
        if response.status == 206:
            begin, _, total = content_range(response)
            if begin != len(start):
                raise SourceFailure(f"{response.url.host} sent another part than was asked for")
            data = start
            size: int | None = total
        elif response.status == 200:  # a server that knows no ranges begins anew
            data, size = b"", response.content_length
        else:
            return start, None
        async for piece in response.content.iter_any():
            data += piece
            if len(data) >= upto:
                break
        return data[:upto], size
