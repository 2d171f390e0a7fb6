"""What a server sends becomes bytes of a part: written in batches, noted, and hashed in step.

Several responses may bring pieces of one file at once, in any order.  The digest follows from the
start of the file; the journal, which lets a later attempt go on, lags by a bounded amount.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from runnerd import threads
from runnerd.errors import InvalidModelFile, RunnerdError, SourceFailure
from runnerd.models.manifest import GGUF_TYPE, MMPROJ_TYPE
from runnerd.models.part_journal import Piece
from runnerd.models.parts import Part
from runnerd.outbound.client import translated
from runnerd.pulls.offer import OfferedFile

_BATCH_BYTES = 2**20  # written at once
_MAGIC = b"GGUF"


class PieceWriter:
    """Writes what responses bring of one file into its part.  `report` is told of each batch."""

    def __init__(self, file: OfferedFile, part: Part, report: Callable[[], None]) -> None:
        self._file = file
        self._part = part
        self._report = report
        self._arrived = asyncio.Event()
        self._journal = asyncio.Lock()

    async def receive(self, response: aiohttp.ClientResponse, piece: Piece) -> None:
        """Write what a response brings into its piece, to the piece's end or the response's."""
        part, batch = self._part, bytearray()
        broken: RunnerdError | None = None
        ended = False
        while piece.left and not ended:
            try:
                with translated(response.url):
                    chunk = await response.content.readany()
            except RunnerdError as error:
                broken, chunk = error, b""  # what came before it is good
            ended = not chunk
            batch += chunk
            if len(batch) >= min(_BATCH_BYTES, piece.left) or (ended and batch):
                await self._write(piece, batch)
                batch = bytearray()
        if broken is not None:
            raise broken
        if piece.left and part.size is not None:
            raise SourceFailure(f"{response.url.host} ended the file before its end")

    async def _write(self, piece: Piece, data: bytearray) -> None:
        part = self._part
        await threads.run(part.write, piece, data)
        part.wrote(piece, len(data))
        await self._check_magic(piece, data)
        await self._noted()

    async def _noted(self) -> None:
        self._arrived.set()
        self._report()
        if self._part.wants_journal:
            async with self._journal:  # whoever comes meanwhile waits: the lag stays bounded
                if self._part.wants_journal:
                    await threads.run(self._part.write_journal)

    async def follow(self) -> None:
        """Hash what has arrived, in step with it, until the file is complete."""
        part = self._part
        while not part.complete or part.behind:
            if part.behind <= 0:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            await threads.run(part.hash_on)

    def all_is_there(self) -> None:
        """Let `follow` come to its end: nothing more will arrive."""
        self._arrived.set()

    async def _check_magic(self, piece: Piece, data: bytearray) -> None:
        """Notice a web page in place of a model before it has forty gigabytes."""
        begins = piece.start == 0 and piece.at == len(data) >= len(_MAGIC)
        if begins and self._file.media_type in (GGUF_TYPE, MMPROJ_TYPE):
            if not data.startswith(_MAGIC):
                await threads.run(self._part.restart)
                raise InvalidModelFile(f"{self._file.name} is not a GGUF file")
