"""Stop words that say nothing: an empty one would end every response before its first token.

Clients send `""`, `[""]` and `[]` for "none of mine".  They are taken out; where nothing is left
the member was not said, and what the model's maker or owner says holds.
"""

from __future__ import annotations

import msgspec

from runnerd.relay.body import UNSAID, Inference
from runnerd.relay.parsed_request import ParsedRequest

_EMPTY: tuple[object, ...] = ("", [], None)


def has_stops(fields: Inference) -> bool:
    """Whether a request names stop words, in either API's member."""
    return fields.stop is not UNSAID or fields.stop_sequences is not UNSAID


def with_said_stops(request: ParsedRequest) -> ParsedRequest:
    """A request without stop words that are empty."""
    changed: dict[str, msgspec.Raw] = {}
    for name in ("stop", "stop_sequences"):
        raw = getattr(request.fields, name)
        if raw is not UNSAID:
            said = msgspec.json.decode(raw)
            if (left := said_stops(said)) != said:
                changed[name] = msgspec.Raw(msgspec.json.encode(left)) if left else UNSAID
    if not changed:
        return request
    members = {**request.members, **changed}
    left = {name: raw for name, raw in members.items() if raw is not UNSAID}
    return request.replaced(left, **changed)


def said_stops(said: object) -> object:
    """What is left of stop words; None: nothing."""
    if isinstance(said, list):
        return [word for word in said if word not in _EMPTY] or None
    return None if said in _EMPTY else said
