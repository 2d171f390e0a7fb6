"""Rankings with the documents' texts in them (`return_documents`), which the engine leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from runnerd.relay.events import StreamError

_TRUE = msgspec.Raw(b"true")


class RankedTexts:
    """One ranking, completed."""

    content_type = b"application/json"
    streams = False

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._data = bytearray()

    def feed(self, data: bytes) -> bytes:
        self._data += data
        return b""

    def end(self) -> bytes:
        """Return the response.  Raises StreamError where it is no ranking of these texts."""
        try:
            document: dict[str, Any] = msgspec.json.decode(self._data)
            for entry in document["results"]:
                entry["document"] = {"text": self._texts[entry["index"]]}
        except (msgspec.DecodeError, LookupError, TypeError) as error:
            raise StreamError({"message": "the engine's response is no ranking"}) from error
        return msgspec.json.encode(document)


def texts_wanted(wanted: msgspec.Raw, documents: msgspec.Raw) -> RankedTexts | None:
    """What completes a ranking, None where nobody asks for the texts."""
    if wanted != _TRUE:
        return None
    try:
        return RankedTexts(msgspec.json.decode(documents, type=list[str]))
    except msgspec.MsgspecError:
        return None  # the engine refuses them
