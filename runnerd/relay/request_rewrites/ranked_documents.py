"""Documents to rank as other APIs write them: objects with a text, beside the engine's strings.

Cohere's and Jina's clients send `{"text": ...}`, or objects of several fields, of which
`rank_fields` names those that count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from runnerd.relay.body import Body

_MARK = b"{"


class _Asked(msgspec.Struct):
    documents: list[Any] | msgspec.UnsetType = msgspec.UNSET
    rank_fields: list[str] | None = None


_decode = msgspec.json.Decoder(_Asked).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def with_plain_documents(body: Body) -> Body:
    """The body with every document a string, of the same length, as its memory is counted.

    What cannot be told stays as it is, for whoever refuses it.
    """
    if body.count(_MARK) < 2:  # the request itself is the only object
        return body
    try:
        asked = _decode(body)
        members = _decode_members(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body
    if not isinstance(asked.documents, list):
        return body
    texts = [_text(document, asked.rank_fields) for document in asked.documents]
    members["documents"] = msgspec.Raw(msgspec.json.encode(texts))
    return msgspec.json.encode(members).ljust(len(body))


def _text(document: Any, fields: Sequence[str] | None) -> Any:
    """The text of a document; the document itself where it has none."""
    if not isinstance(document, dict):
        return document
    if fields is None and isinstance(document.get("text"), str):
        return document["text"]
    named = fields if fields is not None else list(document)
    values = [document[name] for name in named if isinstance(document.get(name), str)]
    return "\n".join(values) if values else document
