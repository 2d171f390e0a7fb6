"""What an engine answers, as bytes: the head, and where a chunked body ends.

Heads are checked by llhttp, and what it made of one is remembered: an engine sends the same few
heads over and over.  A chunked body is followed by llhttp as well, either decoded or, when client
and engine speak the same framing, left as it is: then nothing in Python happens per chunk.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

import httptools

HEAD_BYTES = 64 * 2**10
"""No engine's head is longer, interim responses included."""

_REMEMBERED_HEADS = 512
_REMEMBERED_BYTES = 1024
_CONTENT_TYPE = re.compile(rb"[A-Za-z0-9!#$&^_.+/;= -]{1,100}\Z")
_UNKNOWN_TYPE = b"application/octet-stream"
_BODY_FOLLOWS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_FOLLOWED = {b"Transfer-Encoding": b"chunked"}
_LAST_CHUNK = b"0\r\n\r\n"


class BadResponse(Exception):
    """An engine sent something that is no proper HTTP response; the text says what."""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What matters of a head.  `length` None and not `chunked`: until the connection ends.

    With a status below 200 the real response is still to come.
    """

    status: int
    content_type: bytes
    length: int | None
    chunked: bool
    keeps: bool


class _HeadReader:
    """llhttp's callbacks for one head."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.keeps = False
        self.content_type = b"application/json"
        self.length: int | None = None
        self.chunked = False
        self.encoded = False
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-type":
            self.content_type = value if _CONTENT_TYPE.match(value) else _UNKNOWN_TYPE
        elif name == b"content-length":
            self.length = int(value)
        elif name == b"transfer-encoding":
            self.chunked = value.lower() == b"chunked"
        elif name == b"content-encoding":
            self.encoded = value.lower() != b"identity"

    def on_headers_complete(self) -> None:
        self.complete = True
        self.keeps = self.parser.should_keep_alive()  # later it forgets


_heads: dict[bytes, ResponseHead] = {}


def read_head(head: bytes) -> ResponseHead:
    """What a head says, which ends with its empty line.  Raises BadResponse."""
    known = _heads.get(head)
    if known is not None:
        return known
    reader = _HeadReader()
    try:
        reader.parser.feed_data(head)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        raise BadResponse("its response is not HTTP") from error
    if not reader.complete:
        raise BadResponse("its response is not HTTP")
    if reader.encoded:
        raise BadResponse("its response is compressed, which it was not asked for")
    status = reader.parser.get_status_code()
    if status < 100 or status == 101:
        raise BadResponse(f"its response has the impossible status {status}")
    bodiless = status in (204, 304)
    response = ResponseHead(
        status,
        reader.content_type,
        0 if bodiless else reader.length,
        reader.chunked and not bodiless,
        reader.keeps,
    )
    if len(head) <= _REMEMBERED_BYTES and len(_heads) < _REMEMBERED_HEADS:
        _heads[head] = response
    return response


class ChunkedBody:
    """Follows a chunked body to its end.

    What it returns is for passing on: the content alone if it `decodes`, else the bytes as they
    are, framing included.  Of one that is `held` the client gets nothing before its end, so nobody
    asks where its chunks end, and they are not counted.
    """

    __slots__ = ("_chunks", "_content", "_held", "_last", "_parser", "_spoiled")

    def __init__(self, *, decodes: bool = False, held: bool = False) -> None:
        self._held = held
        self._content: list[bytes] | None = [] if decodes else None
        self._spoiled = False
        self._last = b""  # byte that was passed on
        self._chunks = _Chunks(self._content, counted=not held)
        self._parser = httptools.HttpResponseParser(self._chunks)
        self._parser.feed_data(_BODY_FOLLOWS)

    @property
    def complete(self) -> bool:
        """Whether the end has come."""
        return self._chunks.complete

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the body; return what there is to pass on.

        Raises BadResponse when it is no chunked body, or when there is more behind its end; then
        nothing of the piece may be passed on.
        """
        self._spoiled = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise
        except httptools.HttpParserError as error:
            raise BadResponse("its response is not properly chunked") from error
        if self.complete and not (
            (data.endswith(_LAST_CHUNK) or _LAST_CHUNK.endswith(data)) and self._chunks.alone()
        ):
            raise BadResponse("it sent more than its response")
        self._spoiled = False
        if not self._held:
            self._last = data[-1:]
        content = self._content
        if content is None:
            return data
        data = content[0] if len(content) == 1 else b"".join(content)
        content.clear()
        return data

    def between_chunks(self) -> bool:
        """Return whether another chunk could follow what was taken.  Ask once, at the end.

        After a piece that was refused nobody knows, unless it was the first.
        """
        if self._spoiled or not self._last:
            return not self._last  # nothing was passed on
        return self._last == b"\n" and self._chunks.even()


class _Chunks:
    """llhttp's callbacks for a chunked body.

    Nothing here refers back to who reads it: a circle would stay in memory until it is looked for.
    """

    def __init__(self, content: list[bytes] | None, *, counted: bool) -> None:
        self.complete = False
        # In C, as the counters below: a body costs no Python code.
        self._messages = itertools.count()
        self.on_message_begin = self._messages.__next__
        self._headers: dict[bytes, bytes] = {}
        self.on_header = self._headers.__setitem__
        if counted:
            self._begun = itertools.count()
            self._ended = itertools.count()
            self.on_chunk_header = self._begun.__next__
            self.on_chunk_complete = self._ended.__next__
        if content is not None:
            self.on_body = content.append

    def alone(self) -> bool:
        """Return whether neither a trailer nor another response has come.  Ask once, at the end."""
        return next(self._messages) == 1 and self._headers == _FOLLOWED

    def even(self) -> bool:
        """Return whether every chunk that began has ended.  Ask once."""
        return next(self._begun) == next(self._ended)

    def on_message_complete(self) -> None:
        self.complete = True
