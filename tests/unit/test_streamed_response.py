"""A response that is read piece by piece inside the daemon."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd import tasks
from runnerd.errors import BackendFailure
from runnerd.relay.streamed_response import Opening, StreamedResponse

MOST = 10


def never() -> None:
    raise AssertionError("cancelled")


def begin(sink: StreamedResponse) -> None:
    framed = sink.head(
        200, b"text/x", None, chunked=True, framed=True, streams=True, warnings=("w",)
    )
    assert not framed


async def test_it_is_read_while_it_comes() -> None:
    """The reader waits for each piece, and for the end."""
    sink = StreamedResponse(MOST)
    read: list[bytes] = []

    async def reader() -> None:
        assert await sink.opening() == Opening(200, b"text/x", ("w",))
        async for piece in sink:
            read.append(piece)

    reading = tasks.spawn(reader(), name="reader")
    begin(sink)
    for number, piece in enumerate((b"ab", b"c")):
        sink.piece(piece)
        while len(read) <= number:
            await asyncio.sleep(0)
    assert not reading.done()
    sink.end()
    await reading
    assert read == [b"ab", b"c"]


async def test_a_whole_response_is_one_piece() -> None:
    """However large; an empty one is none."""
    for body, pieces in ((b"x" * 5 * MOST, [b"x" * 5 * MOST]), (b"", [])):
        sink = StreamedResponse(MOST)
        sink.whole(200, b"text/x", body, ())
        assert await sink.opening() == Opening(200, b"text/x", ())
        assert [piece async for piece in sink] == pieces


@pytest.mark.parametrize("begun", [False, True])
async def test_an_error_is_raised_behind_what_came_before_it(begun: bool) -> None:
    """To who waits for the beginning as to who reads on."""
    sink = StreamedResponse(MOST)
    if begun:
        begin(sink)
        sink.piece(b"ab")
    sink.error(BackendFailure("gone"), intact=True, warnings=())
    if begun:
        assert await anext(sink) == b"ab"
    else:
        with pytest.raises(BackendFailure, match="gone"):
            await sink.opening()
    with pytest.raises(BackendFailure, match="gone"):
        await anext(sink)


async def test_what_was_cancelled_is_told_as_that() -> None:
    """And nothing of it is kept."""
    sink = StreamedResponse(MOST)
    begin(sink)
    sink.piece(b"abc")
    sink.gone()
    sink.piece(b"more")
    assert sink.unread_bytes() == 0
    with pytest.raises(asyncio.CancelledError):
        await anext(sink)


@given(st.lists(st.one_of(st.none(), st.binary(min_size=1, max_size=7)), max_size=60))
async def test_who_does_not_keep_up_makes_the_engine_wait(steps: list[bytes | None]) -> None:
    """Pauses and resumes alternate, nothing is lost, and no more is kept than is paused for."""
    sink = StreamedResponse(MOST)
    flow: list[bool] = []
    sink.control(flow.append, never)
    begin(sink)
    written, read = b"", b""
    for piece in steps:
        if piece is None:
            if sink.unread_bytes():
                read += await anext(sink)
        elif not (flow and flow[-1]):  # an engine that waits sends nothing
            sink.piece(piece)
            written += piece
        paused = bool(flow and flow[-1])
        assert paused or sink.unread_bytes() <= MOST
        assert sink.unread_bytes() <= MOST + 7
        assert sink.unread_bytes() == len(written) - len(read)
    sink.end()
    assert all(first is not second for first, second in itertools.pairwise(flow))
    assert read + b"".join([piece async for piece in sink]) == written


async def test_nobody_is_told_to_go_on_after_the_end() -> None:
    """The exchange is over; what lies here is read all the same."""
    sink = StreamedResponse(MOST)
    flow: list[bool] = []
    sink.control(flow.append, never)
    begin(sink)
    sink.piece(b"x" * 20)
    sink.end()
    assert [piece async for piece in sink] == [b"x" * 20]
    assert flow == [True]


async def test_who_stops_it_has_what_came_until_then() -> None:
    """The exchange is cancelled, once, and what it does then changes nothing."""
    sink = StreamedResponse(MOST)
    cancelled: list[bool] = []

    def cancel() -> None:
        cancelled.append(True)
        sink.gone()

    sink.control(lambda paused: None, cancel)
    begin(sink)
    sink.piece(b"ab")
    sink.stop()
    sink.stop()
    sink.piece(b"c")
    assert cancelled == [True]
    assert [piece async for piece in sink] == [b"ab"]
