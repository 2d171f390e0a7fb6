"""What becomes of an engine's body on its way to the client, where no API and no adapter has a say.

Bodies that pass as they are, chunks that are put together, another name for the model, errors: all
of them are translations (`relay/dialect`), as those of other APIs are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

import msgspec

from runnerd.errors import BackendFailure
from runnerd.relay.dialect import Translation
from runnerd.relay.engine_errors import error_object
from runnerd.relay.events import StreamError, unknown_shape
from runnerd.relay.response_adapters.assembly import Assembly
from runnerd.relay.response_adapters.model_name import ModelNameFilter

P = ParamSpec("P")

_ERROR_LIMIT = 64 * 2**10  # bytes of an engine's error that are read


_OF_NO_SHAPE = (
    AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError,
    msgspec.MsgspecError,
)  # fmt: skip


def of_stream(work: Callable[P, bytes], *arguments: P.args, **named: P.kwargs) -> bytes:
    """What a translation makes of what an engine said, which may be anything.

    Raises StreamError also where it is of a shape that the translation does not expect.
    """
    try:
        return work(*arguments, **named)
    except BackendFailure as error:
        raise StreamError({"message": error.message}) from error
    except _OF_NO_SHAPE as error:
        raise unknown_shape() from error


class PassedThrough:
    """A body that passes as it is."""

    content_type = b""
    streams = True

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""


PASSED = PassedThrough()


class Assembled:
    """A whole response that is put together from a stream."""

    content_type = b"application/json"
    streams = False

    def __init__(self, prompts: int, model: str) -> None:
        self._assembly = Assembly(prompts, model)

    def feed(self, data: bytes) -> bytes:
        self._assembly.feed(data)
        return b""

    def end(self) -> bytes:
        return self._assembly.result()


class Renamed:
    """Another translation's work on a body in which the model has another name."""

    def __init__(self, inner: Translation, old: str, new: str) -> None:
        self.content_type = inner.content_type
        self.streams = inner.streams
        self._inner = inner
        self._names = ModelNameFilter(old.strip(" "), new)  # the engine strips it as well

    def feed(self, data: bytes) -> bytes:
        return self._inner.feed(self._names.feed(data))

    def end(self) -> bytes:
        return self._inner.feed(self._names.end()) + self._inner.end()


class ErrorBody:
    """The body of a response with a status that is an error: its end raises that."""

    content_type = b"application/json"
    streams = False

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Take a piece.  Raises StreamError once there is enough: it may have no end."""
        self._data += data
        if len(self._data) >= _ERROR_LIMIT:
            self.end()
        return b""

    def end(self) -> bytes:
        raise StreamError(error_object(bytes(self._data)))
