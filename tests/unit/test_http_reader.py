"""HTTP requests out of bytes, without a socket: any split, any garbage, offers to upgrade."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runnerd.errors import ClientError, HeadersTooLarge
from runnerd.limit_settings import Limits
from runnerd.relay.http_reader import END, Head, HttpReader, Malformed

LIMITS = Limits(head_bytes=2000)

Read = tuple[object, ...]
"""One request: method, target, headers, version 1.1, keep-alive, body, whether it is complete."""

OFFERS = [
    [],
    [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")],
    [
        (b"connection", b"Upgrade, HTTP2-Settings"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAMAAABkAAQAoAAAAAIAAAAA"),
    ],
    [(b"connection", b"keep-alive, Upgrade"), (b"upgrade", b"TLS/1.2, h2c")],
]
HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"x-a", b"host", b"accept", b"x-request-id"]),
        st.text("abc /;=,", max_size=20).map(lambda text: text.strip().encode()),
    ),
    max_size=4,
)
# Bodies that look like requests, and like what frames them.
EMBEDDED = st.lists(
    st.sampled_from(
        [
            b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST /evil HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            b"\r\n\r\n",
            b"0\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"x",
            b"",
        ]
    ),
    max_size=5,
).map(b"".join)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, Read]:
    """A well-formed request: its bytes, and what has to be read of them."""
    method = draw(st.sampled_from(["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT"]))
    target = draw(st.sampled_from([b"/", b"/v1/chat/completions?a=b", b"*", b"//x"]))
    headers = [*draw(HEADERS), *draw(st.sampled_from(OFFERS))]
    body = draw(EMBEDDED)
    framing = draw(st.sampled_from(["length", "chunked", "none"]))
    lines, sent = list(headers), body
    if framing == "length":
        lines.insert(draw(st.integers(0, len(lines))), (b"content-length", b"%d" % len(body)))
    elif framing == "chunked":
        lines.insert(draw(st.integers(0, len(lines))), (b"transfer-encoding", b"chunked"))
        sent = chunked(body, draw(st.integers(1, 40)))
    else:
        body = sent = b""
    head = b"%s %s HTTP/1.1\r\n" % (method.encode(), target)
    head += b"".join(b"%s: %s\r\n" % line for line in lines)
    return head + b"\r\n" + sent, (method, target, lines, True, True, body, True)


def chunked(body: bytes, size: int) -> bytes:
    """Return a body in chunks of so many bytes."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return chunks + b"0\r\n\r\n"


def pieces_of(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Yield `data` in pieces, cut at places that are taken modulo its length."""
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    for begin, end in zip([0, *places], [*places, len(data)], strict=True):
        yield data[begin:end]


def read(pieces: Iterator[bytes] | list[bytes]) -> tuple[list[Read], Malformed | None]:
    """Return the requests in pieces of bytes, and what ended them."""
    reader, failure = HttpReader(LIMITS), None
    found: list[Read] = []
    head: Head | None = None
    body, complete = b"", False

    def finish() -> None:
        if head is not None:
            found.append(
                (head.method, head.target, head.headers, head.http11, head.keep_alive, body,
                 complete)
            )  # fmt: skip

    for piece in pieces:
        for event in reader.feed(piece):
            assert failure is None
            if isinstance(event, Head):
                finish()
                head, body, complete = event, b"", False
            elif isinstance(event, bytes):
                assert not complete
                body += event
            elif isinstance(event, Malformed):
                failure = event
            else:
                assert event is END
                complete = True
    finish()
    reader.close()
    return found, failure


CUTS = st.lists(st.integers(0, 2**16), max_size=12)


@given(st.lists(requests(), max_size=5), CUTS)
def test_requests_are_read_however_they_are_cut(
    sent: list[tuple[bytes, Read]], cuts: list[int]
) -> None:
    """Behind and in front of others, with any body and any offer; nothing embedded is one."""
    data = b"".join(message for message, _ in sent)
    found, failure = read(pieces_of(data, cuts))
    assert failure is None
    assert found == [expected for _, expected in sent]


@given(st.binary(max_size=300) | EMBEDDED, CUTS)
@example(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [])
@example(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n", [3])
def test_garbage_is_malformed_or_a_request_and_raises_nothing(data: bytes, cuts: list[int]) -> None:
    """Whatever comes, the same is read of it however it is cut."""
    whole, failure = read([data])
    cut, failure_of_cut = read(pieces_of(data, cuts))
    assert cut == whole
    assert (failure is None) == (failure_of_cut is None)


@given(requests(), st.integers(0, 2**16), st.binary(min_size=1, max_size=3), CUTS)
def test_damaged_requests_raise_nothing(
    sent: tuple[bytes, Read], place: int, damage: bytes, cuts: list[int]
) -> None:
    """A few wrong bytes anywhere: the same is read of them however they are cut."""
    message, _ = sent
    place %= len(message)
    data = message[:place] + damage + message[place + len(damage) :]
    whole, failure = read([data])
    cut, failure_of_cut = read(pieces_of(data, cuts))
    assert cut == whole
    assert (failure is None) == (failure_of_cut is None)


@pytest.mark.parametrize("offer", OFFERS[1:])
def test_body_behind_an_offer_is_a_body(offer: list[tuple[bytes, bytes]]) -> None:
    """What looks like a request in it is none, and the real one behind it is."""
    lines = b"".join(b"%s: %s\r\n" % line for line in offer)
    evil = b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
    data = b"POST /a HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%sGET /b HTTP/1.1\r\n\r\n"
    found, failure = read([data % (lines, len(evil), evil)])
    assert failure is None
    assert [(request[1], request[5]) for request in found] == [(b"/a", evil), (b"/b", b"")]


@pytest.mark.parametrize(
    "framing",
    [
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3",
        b"Content-Length: 3\r\nContent-Length: 3",
        b"Content-Length: -3",
    ],
)
def test_offer_does_not_make_bad_framing_good(framing: bytes) -> None:
    """Nothing behind it is read: nobody knows where the body ends."""
    head = b"POST / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n%s\r\n\r\n" % framing
    found, failure = read([head + b"GET /evil HTTP/1.1\r\n\r\n"])
    assert failure is not None
    assert isinstance(failure.error, ClientError)
    assert b"/evil" not in [request[1] for request in found]


def test_trailers_are_no_headers() -> None:
    """What comes behind a body was not there when the head was checked."""
    data = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: evil\r\n\r\n"
    found, failure = read([data])
    assert failure is None
    assert [request[2] for request in found] == [[(b"transfer-encoding", b"chunked")]]


@pytest.mark.parametrize("size", [1, 7, 4000])
def test_endless_head_is_refused(size: int) -> None:
    """It is not collected beyond the limit, however it arrives."""
    reader, sent = HttpReader(LIMITS), 0
    events: list[object] = []
    begin = b"GET / HTTP/1.1\r\nX: "
    events += reader.feed(begin)
    while not events:
        events += reader.feed(b"a" * size)
        sent += size
    [event] = events
    assert isinstance(event, Malformed)
    assert isinstance(event.error, HeadersTooLarge)
    assert sent + len(begin) <= LIMITS.head_bytes + size
    assert reader.feed(b"\r\n\r\n") == []
    reader.close()


def test_nothing_follows_the_last_request() -> None:
    """After Connection: close nothing is read as a request, offer or not."""
    for offer in (b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"):
        head = b"POST /a HTTP/1.1\r\n%sConnection: close\r\nContent-Length: 1\r\n\r\nx" % offer
        found, failure = read([head + b"GET /evil HTTP/1.1\r\n\r\n"])
        assert [(request[1], request[4]) for request in found] == [(b"/a", False)]
        assert failure is not None


CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"


@given(st.lists(st.integers(0, 2**16), max_size=20), st.integers(1, 3))
def test_trailers_are_dropped(cuts: list[int], count: int) -> None:
    """However they are cut: they are no headers, neither of this request nor of the next one."""
    message = CHUNKED + b"Origin: http://evil\r\nX-A: b\r\n" * count + b"\r\n"
    found, failure = read(pieces_of(message * 2, cuts))
    headers = [(b"transfer-encoding", b"chunked")]
    assert failure is None
    assert found == [("POST", b"/", headers, True, True, b"x", True)] * 2


@pytest.mark.parametrize(
    "trailers",
    [b"a: b\r\n" * 2000, b"a: " + b"b" * 20_000 + b"\r\n", b"a" * 20_000],
    ids=["many", "one", "endless"],
)
@given(st.lists(st.integers(0, 2**16), max_size=20))
def test_trailers_are_bounded(trailers: bytes, cuts: list[int]) -> None:
    """More of them than is sensible are no request, wherever they are cut."""
    found, failure = read(pieces_of(CHUNKED + trailers, [*cuts, len(CHUNKED)]))
    assert not found[0][-1], "it is not complete"
    assert failure is not None
    assert failure.error.status == 431


def test_what_extends_chunks_is_bounded() -> None:
    """An endless line before a chunk, which no body and no trailer is."""
    _, failure = read([CHUNKED[:-3] + b"1;", *[b"a" * 5000] * 3])
    assert failure is not None
    assert failure.error.status == 431
