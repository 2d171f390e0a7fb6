"""Rankings with the documents' texts in them (`return_documents`), which the engine leaves out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from runnerd.relay.events import StreamError
from runnerd.relay.response_adapters.whole_document import WholeDocument

_TRUE = msgspec.Raw(b"true")


class RankedTexts(WholeDocument):
    """One ranking, completed."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__()
        self._texts = texts

    def end(self) -> bytes:
        """Return the response.  Raises StreamError where it is no ranking of these texts."""
        try:
            document = self.document()
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
