"""Server-sent events (the WHATWG's HTML, "event stream"): out of bytes, and as bytes.

Lines end in LF, CR or CRLF, lines that begin with a colon are comments, several `data` lines are
one text, and an event ends with an empty line; what is left without one is no event.  The standard
library alone: the command line reads streams, too.
"""

from __future__ import annotations

from typing import NamedTuple

from runnerd.errors import BackendFailure

_MARK = b"\xef\xbb\xbf"  # UTF-8's byte-order mark


class Event(NamedTuple):
    """An event: its type ("" where none is said) and its data.

    `error` is a field that is not in the standard; llama-server has told errors by it.
    """

    type: str
    data: bytes
    error: bytes = b""


MOST_BYTES = 4 * 2**20
"""Of one event: what makes it longer is no model.  A response of 100,000 tokens is half a MiB."""
MOST_EVENTS = 2**21
"""Of one stream, which has one for each token: sixteen responses of 131,072 tokens have as many."""


class EventSplitter:
    """Cuts a stream, which comes in any pieces, into the texts of its events.

    A text is an event's lines, comments and all, with LF between them: to be parsed (`parse`), or
    to be passed on (`joined`).  What has begun and not ended is kept, and may be copied with each
    piece that comes: so there is a limit to it.
    """

    __slots__ = ("_begun", "_held", "_left", "rest")

    def __init__(self) -> None:
        self.rest = b""  # of an event that is not complete
        self._held = b""  # a CR that may be half of a line's end
        self._begun = False
        self._left = MOST_EVENTS

    def feed(self, data: bytes) -> list[bytes]:
        """Take a piece of the stream; return the texts that end in it.

        Raises errors.BackendFailure for an event that is longer than MOST_BYTES, and for more
        events than MOST_EVENTS.
        """
        texts = self._split(data)
        self._left -= len(texts)
        if self._left < 0:
            raise BackendFailure(f"the engine's stream has more than {MOST_EVENTS} events")
        if len(self.rest) > MOST_BYTES or (len(data) > MOST_BYTES and _too_long(texts)):
            self.rest = b""
            raise BackendFailure(f"an event of a stream is longer than {MOST_BYTES} bytes")
        return texts

    def _split(self, data: bytes) -> list[bytes]:
        if not self._begun and data:
            data = self._without_mark(data)
        if self._held or b"\r" in data:
            data = self._with_line_feeds(data)
        ends = b"\n\n" in data or (data.startswith(b"\n") and self.rest.endswith(b"\n"))
        if not ends:  # nor is what is kept looked at again
            self.rest += data
            return []
        data = self.rest + data if self.rest else data
        # Mostly each event is one line, with an empty one behind it: to cut at single characters
        # takes a third of the time.
        lines = data.split(b"\n")
        if len(lines) % 2 and all(texts := lines[:-1:2]) and not any(lines[1::2]):
            self.rest = lines[-1]
            return texts
        texts = data.split(b"\n\n")
        self.rest = texts.pop()
        if b"\n\n\n" in data or data.startswith(b"\n"):
            return [text for each in texts if (text := each.strip(b"\n"))]
        return texts

    def _without_mark(self, data: bytes) -> bytes:
        """Take off a byte-order mark, with which a stream may begin."""
        data, self.rest = self.rest + data, b""
        if len(data) < len(_MARK) and _MARK.startswith(data):
            self.rest = data
            return b""
        self._begun = True
        return data.removeprefix(_MARK)

    def _with_line_feeds(self, data: bytes) -> bytes:
        data, self._held = self._held + data, b""
        if data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _too_long(texts: list[bytes]) -> bool:
    return any(len(text) > MOST_BYTES for text in texts)


def parse(text: bytes) -> Event:
    """The event of a text; one without data has none."""
    if text.startswith(b"data: ") and b"\n" not in text:
        return Event("", text[6:])
    kind, error = "", b""
    data: list[bytes] = []
    for line in text.split(b"\n"):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value.decode("utf-8", "replace")
        elif name == b"error":
            error = value
    return Event(kind, b"\n".join(data), error)


def joined(texts: list[bytes]) -> bytes:
    """A stream of events that were split.

    A line end keeps what begins with a byte-order mark from being taken for the stream's own mark,
    which readers take off.
    """
    data = b"".join(text + b"\n\n" for text in texts)
    return b"\n" + data if data.startswith(_MARK) else data


def encoded(data: bytes, type: str = "", id: str = "") -> bytes:
    """An event, as bytes: each line of its data is a line.  `type` and `id` have no line ends."""
    data = b"data: " + data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(
        b"\n", b"\ndata: "
    )
    if type:
        data = b"event: %s\n%s" % (type.encode(), data)
    return (b"id: %s\n%s\n\n" % (id.encode(), data)) if id else data + b"\n\n"


def comment(text: str) -> bytes:
    """A comment, which says nothing and keeps a connection alive."""
    return b": %s\n\n" % text.encode()
