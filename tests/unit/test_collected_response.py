"""A response that is kept in memory."""

from __future__ import annotations

import asyncio

import pytest

from runnerd.errors import BackendFailure
from runnerd.relay.collected_response import Collected, CollectedResponse


def begin(sink: CollectedResponse) -> None:
    framed = sink.head(
        200, b"text/x", None, chunked=True, framed=True, streams=True, warnings=("w",)
    )
    assert not framed


async def test_pieces_and_wholes() -> None:
    """Come out as one."""
    sink = CollectedResponse(10)
    begin(sink)
    for piece in (b"ab", b"c"):
        sink.piece(piece)
    sink.end()
    assert await sink.result() == Collected(200, b"text/x", b"abc", ("w",))
    sink = CollectedResponse(10)
    sink.whole(200, b"text/x", b"abc", ())
    assert await sink.result() == Collected(200, b"text/x", b"abc", ())


@pytest.mark.parametrize("begun", [False, True])
async def test_an_error_is_raised(begun: bool) -> None:
    """Before the response as within it."""
    sink = CollectedResponse(10)
    if begun:
        begin(sink)
        sink.piece(b"ab")
    sink.error(BackendFailure("gone"), intact=True, warnings=())
    with pytest.raises(BackendFailure, match="gone"):
        await sink.result()


async def test_memory_is_bounded() -> None:
    """What is too large is an error, and not kept."""
    sink = CollectedResponse(10)
    begin(sink)
    for _ in range(20):
        sink.piece(b"abc")
    assert len(sink._body) <= 10
    sink.end()
    with pytest.raises(BackendFailure, match="10 bytes"):
        await sink.result()


async def test_nobody_waits_for_what_is_gone() -> None:
    """Whoever still did is told so."""
    sink = CollectedResponse(10)
    sink.gone()
    with pytest.raises(asyncio.CancelledError):
        await sink.result()
