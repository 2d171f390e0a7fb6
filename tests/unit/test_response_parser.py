"""What the relay makes of the bytes of an engine's response."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.response_parser import BadResponse, ChunkedBody, ResponseHead, read_head

pieces = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def chunked(chunks: list[bytes], *, ended: bool = True) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return body + (b"0\r\n\r\n" if ended else b"")


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut `data` at some places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places) if b > a]


@pytest.mark.parametrize("repeat", ["read", "remembered"])
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"Content-Length: 12", ResponseHead(200, b"application/json", 12, False, True)),
        (b"CONTENT-TYPE: a/b\r\ncontent-length: 0", ResponseHead(200, b"a/b", 0, False, True)),
        (
            b"Transfer-Encoding: Chunked\r\nKeep-Alive: timeout=5",
            ResponseHead(200, b"application/json", None, True, True),
        ),
        (
            b"Connection: close\r\nContent-Length: 1",
            ResponseHead(200, b"application/json", 1, False, False),
        ),
        (
            b'Content-Type: text/"html"<b>\r\nContent-Length: 1',
            ResponseHead(200, b"application/octet-stream", 1, False, True),
        ),
        (b"Server: x", ResponseHead(200, b"application/json", None, False, False)),
    ],
)
def test_head_is_read(lines: bytes, expected: ResponseHead, repeat: str) -> None:
    """Framing, type and whether the connection is kept, however the names are spelt."""
    assert read_head(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n\r\n") == expected


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        b"HTTP/9.1 200 OK\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_head_that_is_no_proper_head_is_refused(head: bytes) -> None:
    """Whatever two readers could understand differently is not passed on."""
    with pytest.raises(BadResponse):
        read_head(head)


@given(pieces, st.lists(st.integers(0, 400)))
def test_chunks_are_followed_to_their_end(chunks: list[bytes], cuts: list[int]) -> None:
    """However the bytes arrive: the content comes out whole, and the end is seen at the end."""
    found: list[bytes] = []
    decoding, passing = ChunkedBody(decodes=True), ChunkedBody()
    held = ChunkedBody(decodes=True, held=True)
    data = split(chunked(chunks), cuts)
    for index, piece in enumerate(data):
        found.append(decoding.feed(piece))
        assert passing.feed(piece) == piece
        assert held.feed(piece) == found[-1]
        assert held.between_chunks()  # nothing of it is passed on
        assert decoding.complete == passing.complete == held.complete == (index == len(data) - 1)
    assert b"".join(found) == b"".join(chunks)


@given(pieces, st.integers(0, 400), st.lists(st.integers(0, 400)))
def test_an_error_event_fits_exactly_between_chunks(
    chunks: list[bytes], length: int, cuts: list[int]
) -> None:
    """When a body breaks off, another chunk can follow if and only if the last one was whole."""
    whole = chunked(chunks, ended=False)
    broken = whole[: length % (len(whole) + 1)]
    body = ChunkedBody()
    for piece in split(broken, cuts):
        body.feed(piece)
    ends = {len(chunked(chunks[:count], ended=False)) for count in range(len(chunks) + 1)}
    assert body.between_chunks() == (len(broken) in ends)


@given(pieces, st.binary(min_size=1, max_size=20), st.lists(st.integers(0, 400)))
def test_more_than_the_body_is_refused(chunks: list[bytes], more: bytes, cuts: list[int]) -> None:
    """Bytes behind the last chunk are never passed on as part of the body."""
    end = chunked(chunks)
    body, passed = ChunkedBody(), b""
    try:
        for piece in split(end + more, cuts):
            body.feed(piece)
            passed += piece
            if body.complete:
                break  # the connection is closed now
    except BadResponse:
        pass
    assert end.startswith(passed)


def test_nothing_fits_behind_a_piece_that_was_refused() -> None:
    """Where the refused piece ended inside a chunk is not known; the first one left nothing."""
    body = ChunkedBody()
    body.feed(b"5\r\nab\n")
    with pytest.raises(BadResponse):
        body.feed(b"de\r\nzz\r\n")
    assert not body.between_chunks()
    fresh = ChunkedBody()
    with pytest.raises(BadResponse):
        fresh.feed(b"zz\r\n")
    assert fresh.between_chunks()
