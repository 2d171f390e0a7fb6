"""How the response to a prompt is read: its text as it comes, and the whole of it in the end.

A job whose output is to grow asks for a stream, whatever its prompt says, and the stream is put
together as the relay does it for clients.
"""

from __future__ import annotations

from typing import Any

import msgspec

from runnerd import sse
from runnerd.errors import BackendFailure
from runnerd.jobs.job import Prompt, Response
from runnerd.relay.events import StreamError, document_of
from runnerd.relay.response_adapters.assembly import Assembly, check_bytes

_STREAMED = ("/chat/completions", "/completions")
_MOST_BYTES = 64 * 2**20  # of a response


class Reading:
    """Reads one response; `body` is what to ask with."""

    def __init__(self, body: bytes, *, streams: bool) -> None:
        self.body = body
        self.streams = streams
        self._pieces = bytearray()
        self._splitter = sse.EventSplitter()
        self._assembly = Assembly()
        self._bytes = 0

    def feed(self, piece: bytes) -> str:
        """Take a piece; the text that it adds.  Raises errors.BackendFailure."""
        if not self.streams:
            if len(self._pieces) + len(piece) > _MOST_BYTES:
                raise BackendFailure(f"the response exceeds {_MOST_BYTES} bytes")
            self._pieces += piece
            return ""
        self._bytes += len(piece)
        try:
            check_bytes(self._bytes)
            return "".join(self._take(text) for text in self._splitter.feed(piece))
        except StreamError as error:
            raise BackendFailure(str(error)) from error

    def _take(self, text: bytes) -> str:
        document = document_of(text)
        if document is None:
            return ""
        self._assembly.take(document)
        return _text(document, "delta")

    def response(self, status: int, content_type: str) -> Response:
        """The whole response.  Raises errors.BackendFailure."""
        if not self.streams:
            return Response(status, bytes(self._pieces), content_type)
        try:
            return Response(status, self._assembly.result())
        except StreamError as error:
            raise BackendFailure(str(error)) from error


def reading_of(prompt: Prompt, *, streams: bool) -> Reading:
    """How the response to a prompt is read.  One that cannot be a stream is read as a whole, and
    so is one whose client has asked for a stream itself.
    """
    document: Any = None
    if prompt.path.endswith(_STREAMED):
        try:
            document = msgspec.json.decode(prompt.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            document = None  # the relay says what is wrong with it
    if not isinstance(document, dict):
        return Reading(prompt.body, streams=False)
    if not streams and not document.get("stream"):
        return Reading(prompt.body, streams=False)
    if not streams:  # nobody is there to read one
        document = {name: document[name] for name in document if not name.startswith("stream")}
        return Reading(msgspec.json.encode(document), streams=False)
    document |= {"stream": True, "stream_options": {"include_usage": True}}
    return Reading(msgspec.json.encode(document), streams=True)


def text_of(response: Response) -> str:
    """The text of a whole response, "" where it is no completion."""
    if response.status >= 400:
        return ""
    try:
        document = msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return _text(document, "message") if isinstance(document, dict) else ""


def _text(document: dict[str, Any], member: str) -> str:
    """The text of the first choice of a response, or of a piece of one."""
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or choice.get("index", 0) != 0:
        return ""
    message = choice.get(member)
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    return text if isinstance(text, str) else ""
