"""Documents to rank as other APIs write them: objects with a text, beside the engine's strings.

Cohere's and Jina's clients send `{"text": ...}`, or objects of several fields, of which
`rank_fields` names those that count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from runnerd.relay.body import Body, decode_members

_MARK = b"{"


_NULL = msgspec.Raw(b"null")

_decode_documents = msgspec.json.Decoder(list[Any]).decode
_decode_fields = msgspec.json.Decoder(list[str] | None).decode


def with_plain_documents(body: Body) -> Body:
    """The body with every document a string.

    What cannot be told stays as it is, for whoever refuses it.
    """
    if body.count(_MARK) < 2:  # the request itself is the only object
        return body
    try:
        members = decode_members(body)
        documents = _decode_documents(members["documents"])
        fields = _decode_fields(members.get("rank_fields", _NULL))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
        return body
    texts = [_text(document, fields) for document in documents]
    members["documents"] = msgspec.Raw(msgspec.json.encode(texts))
    return msgspec.json.encode(members)


def _text(document: Any, fields: Sequence[str] | None) -> Any:
    """The text of a document; the document itself where it has none."""
    if not isinstance(document, dict):
        return document
    if fields is None and isinstance(document.get("text"), str):
        return document["text"]
    named = fields if fields is not None else list(document)
    values = [document[name] for name in named if isinstance(document.get(name), str)]
    return "\n".join(values) if values else document
