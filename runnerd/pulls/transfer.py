"""Fetches one file into a part, whatever the server and the network do.

The first request asks for the first piece that lacks.  What comes back decides the way:

    206, exactly that range    several workers fetch pieces, in order, each on its own connection
    200                        the server ignores ranges: the whole file from its start, one stream
    416                        the part does not fit the file: begin anew

A piece is only accepted when the server proves that it is of the same file: `If-Range` with a
strong validator, or a digest that the whole is held to in the end.

A worker's failure is its own: its piece goes back, and the others go on.  One that the server
refuses, because it allows fewer connections, is not sent again; the last one's failure ends the
attempt.  The next one comes after a pause (`retrying`); attempts without a new byte are counted
and bounded, and so is everything from the start in one stream.  `piece_writer` has what becomes of
the bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import aiohttp

from runnerd import tasks, threads
from runnerd.errors import (
    InvalidModelFile,
    ModelNotFound,
    RunnerdError,
    SourceDenied,
    SourceFailure,
    SourceTimeout,
)
from runnerd.models.blob_writer import Pending
from runnerd.models.part_journal import PIECE_BYTES, Piece
from runnerd.models.parts import Part
from runnerd.pulls.offer import OfferedFile
from runnerd.pulls.piece_writer import PieceWriter
from runnerd.pulls.ranges import check_range, content_range, validator_of
from runnerd.pulls.retrying import FIRST_PAUSE, is_worth_waiting, pause_after

log = logging.getLogger(__name__)

_ATTEMPTS = 6  # one after the other without a new byte
_FIRST_ATTEMPTS = 3  # where not one byte has come: somebody waits for the error
_SOURCE_ERRORS = (SourceFailure, SourceTimeout, SourceDenied, ModelNotFound)


class Transfer:
    """The way of one file into one part.  `run` it once; cancelling it keeps what has arrived."""

    def __init__(
        self,
        file: OfferedFile,
        part: Part,
        *,
        workers: int,
        first_pause: float = FIRST_PAUSE,
        report: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._file = file
        self._part = part
        self._workers = workers
        self._first_pause = first_pause
        self._say = say
        self._writer = PieceWriter(file, part, report)
        self._ranged = False
        self._whole = False  # ask without a range: nothing would prove that parts fit together
        self._queue: list[Piece] = []
        self._busy = 0  # workers of this attempt that have not ended
        self._trouble: RunnerdError | None = None  # what the last one to fail met

    async def run(self) -> Pending:
        """Fetch and verify the file.  The part has to be open for its size; it stays so.

        Raises errors.SourceFailure, SourceTimeout, SourceDenied, ModelNotFound, Forbidden,
        InvalidModelFile, InsufficientStorage.
        """
        part = self._part
        hashing = tasks.spawn(self._writer.follow(), name=f"hash {self._file.name}")
        try:
            await self._fetch()
            await hashing
        except BaseException:
            await tasks.cancel_and_wait(hashing)
            with suppress(OSError, RunnerdError):
                await threads.run_to_end(_put_by, part)
            raise
        return await threads.run(part.finish, self._file.digest)

    # again and again

    async def _fetch(self) -> None:
        failures = 0
        while not self._part.complete:
            before = self._part.received
            try:
                await self._attempt()
            except (SourceFailure, SourceTimeout) as error:
                gained = self._ranged and self._part.received > before
                failures = 1 if gained else failures + 1
                hopeful = self._part.received or error.retry_after is not None
                if failures >= (_ATTEMPTS if hopeful else _FIRST_ATTEMPTS):
                    raise
                if not is_worth_waiting(error):
                    raise
                pause = pause_after(failures, error, self._first_pause)
                log.info("%s: %s; again in %.1f s", self._file.name, error.message, pause)
                if hopeful:
                    self._say(f"{error.message}; trying again in {pause:.0f} s")
                await asyncio.sleep(pause)
        self._writer.all_is_there()

    async def _attempt(self) -> None:
        """Fetch until all is there or something breaks."""
        part = self._part
        if part.received and not part.validator:
            await threads.run(part.restart)
        lacking = [piece for piece in part.pieces if piece.left] if part.received else []
        piece = lacking[0] if lacking else Piece(0, 0, PIECE_BYTES, 0)
        async with self._file.remote.open({} if self._whole else self._headers(piece)) as response:
            if response.status == 416:
                await self._accept_none(response, piece)
            elif response.status == 200:
                await self._stream(response)
            elif not self._can_mix(response):
                self._whole = True
            else:
                piece = await self._accept_first(response, piece)
                self._queue = [other for other in part.pieces if other.left and other is not piece]
                self._queue.reverse()
                await self._in_parallel(response, piece)

    async def _accept_none(self, response: aiohttp.ClientResponse, piece: Piece) -> None:
        """Take a 416: the file is empty, or another than the one that was begun."""
        if self._whole or not (piece.at or self._file.size):
            raise InvalidModelFile(f"{self._file.name} is empty")
        self._whole = not piece.at
        await threads.run(self._part.restart)
        raise SourceFailure(f"{response.url.host} has a shorter file than it had before")

    async def _accept_first(self, response: aiohttp.ClientResponse, piece: Piece) -> Piece:
        """Check the first 206 and prepare the part for it; return its own piece."""
        start, end, total = content_range(response)
        # The digest stands in for a validator that the server lacks: the whole is held to it.
        validator = validator_of(response) or str(self._file.digest)
        part = self._part
        if part.size != total or part.validator != validator:
            if piece.at:  # it answers for another file than the one that was begun
                await threads.run(part.restart)
                raise SourceFailure(f"{response.url.host} has changed the file meanwhile")
            self._check_size(total)
            await threads.run(part.begin, total, validator)
        else:
            await threads.run(part.resume)
        check_range(response, (start, end), (piece.at, min(piece.end, total)))
        self._ranged = True
        return part.pieces[piece.number]

    async def _in_parallel(self, response: aiohttp.ClientResponse, piece: Piece) -> None:
        beside = min(self._workers - 1, len(self._queue))
        self._busy, self._trouble = beside + 1, None
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(beside):
                    group.create_task(self._work(), name=f"fetch {self._file.name} {number}")
                await self._begin_with(response, piece)
        except BaseExceptionGroup as group_of_all:
            # Not except*: before Python 3.11.4 that wraps what is raised in it into a group.
            failures, others = group_of_all.split(RunnerdError)
            if failures is None or others is not None:
                raise
            raise _first(failures) from None
        if self._trouble is not None and not self._part.complete:
            raise self._trouble

    def _can_mix(self, response: aiohttp.ClientResponse) -> bool:
        """Whether pieces of several responses are sure to be of one file."""
        return self._file.digest is not None or bool(validator_of(response))

    async def _begin_with(self, response: aiohttp.ClientResponse, piece: Piece) -> None:
        """Take the piece of a response that is here, then work as the others do."""
        before = piece.at
        try:
            await self._writer.receive(response, piece)
        except _SOURCE_ERRORS as error:
            if not await self._goes_on(piece, before, error):
                return
        await self._work()

    async def _work(self) -> None:
        """Fetch pieces until none is left; leave to the others what fails without a new byte."""
        while self._queue:
            piece = self._queue.pop()
            before, opened = piece.at, False
            try:
                async with self._file.remote.open(self._headers(piece)) as response:
                    self._check_part(response, piece)
                    opened = True
                    await self._writer.receive(response, piece)
            except _SOURCE_ERRORS as error:
                if not await self._goes_on(piece, before, error, refused=not opened):
                    return
        self._busy -= 1

    async def _goes_on(
        self, piece: Piece, before: int, error: RunnerdError, *, refused: bool = False
    ) -> bool:
        """Give a worker's piece back; say whether the worker goes on, after a pause, or ends.

        It goes on if it has got as much as a byte since it was at `before`.
        """
        self._queue.append(piece)
        self._trouble = error
        if piece.at > before:
            self._say(f"{error.message}; trying again")
            await asyncio.sleep(pause_after(1, error, self._first_pause))
            return True
        self._busy -= 1
        if refused:
            self._workers = max(1, self._busy)
        log.info("%s: %s; %d connections go on", self._file.name, error.message, self._busy)
        return False

    def _check_part(self, response: aiohttp.ClientResponse, piece: Piece) -> None:
        """Raise errors.SourceFailure unless a response is the piece that was asked for."""
        if response.status != 206:
            raise SourceFailure(
                f"{response.url.host} answered {response.status} to a request for a part of"
                " the file, or has changed it meanwhile"
            )
        start, end, total = content_range(response)
        if total != self._part.size:
            raise SourceFailure(f"{response.url.host} has changed the file meanwhile")
        check_range(response, (start, end), (piece.at, piece.end))

    async def _stream(self, response: aiohttp.ClientResponse) -> None:
        """Take the whole file from its start."""
        part, size = self._part, response.content_length
        self._ranged = False
        if size is not None:
            self._check_size(size)
        await threads.run(part.begin_stream, size)
        await self._writer.receive(response, part.pieces[0])
        if size is None:
            await threads.run(part.end_stream)
            self._check_size(part.size or 0)

    # what is asked and believed

    def _headers(self, piece: Piece) -> dict[str, str]:
        headers = {"Range": f"bytes={piece.at}-{piece.end - 1}"}
        validator = self._part.validator
        if validator.startswith('"') and piece.at:
            headers["If-Range"] = validator
        return headers

    def _check_size(self, size: int) -> None:
        if self._file.size not in (None, size):
            raise SourceFailure(
                f"the server has {size} bytes for {self._file.name}, and it should be"
                f" {self._file.size}",
                should_retry=False,
            )


def _first(failures: BaseExceptionGroup[RunnerdError]) -> RunnerdError:
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, RunnerdError)
    return first


def _put_by(part: Part) -> None:
    """Note what is there for the next attempt; what is of no use to it goes at once."""
    if part.size is not None and part.validator:
        part.write_journal()
    else:
        part.remove()
