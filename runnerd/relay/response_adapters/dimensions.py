"""Embeddings of fewer dimensions than the model has, which the engine does not make.

The first ones are kept and brought back to length one: right for models that were trained for it
(Matryoshka), and what OpenAI's and Ollama's servers do.
"""

from __future__ import annotations

import base64
import math
import struct

import msgspec

from runnerd.errors import ClientError
from runnerd.relay.events import StreamError
from runnerd.relay.response_adapters.whole_document import WholeDocument


def dimensions(raw: msgspec.Raw) -> int:
    """What a request's `dimensions` says.  Raises errors.ClientError."""
    try:
        count = msgspec.json.decode(raw, type=int)
    except msgspec.MsgspecError:
        count = 0
    if count < 1:
        raise ClientError("dimensions must be a number from 1 up", param="dimensions")
    return count


class ShortenedEmbeddings(WholeDocument):
    """One answer of `embeddings`, its vectors cut."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def end(self) -> bytes:
        """Return the response.  Raises StreamError where it is not one of embeddings."""
        try:
            document = self.document()
            for entry in document["data"]:
                entry["embedding"] = self._cut(entry["embedding"])
        except (msgspec.DecodeError, LookupError, TypeError, ValueError, struct.error) as error:
            raise StreamError({"message": "the engine's response has no embeddings"}) from error
        return msgspec.json.encode(document)

    def _cut(self, vector: str | list[float]) -> str | list[float]:
        if isinstance(vector, str):
            data = base64.b64decode(vector)
            values = list(struct.unpack(f"<{len(data) // 4}f", data))
            cut = self._shorter(values)
            return base64.b64encode(struct.pack(f"<{len(cut)}f", *cut)).decode()
        return self._shorter(vector)

    def _shorter(self, values: list[float]) -> list[float]:
        if self._count > len(values):
            message = f"the model's embeddings have {len(values)} dimensions"
            raise StreamError({"message": message, "code": 400})
        cut = values[: self._count]
        length = math.hypot(*cut) or 1.0
        return [value / length for value in cut]
