"""Which conversation a request goes on with, as hashes that two requests of one conversation share.

A request is sent to the instance of its model that has already evaluated what it begins with.  Only
models that may have several instances are asked for this; for all others it costs nothing.

Of a chat, the places that count are the ends of the user's messages: the next request of the same
conversation repeats everything up to there, and another conversation that only has the same system
message does not.  Of a text they are a few fixed lengths, doubling.  The hashes are Python's own,
keyed anew in each process, so nobody can make two conversations look like one.
"""

from __future__ import annotations

import msgspec

from runnerd.relay.body import Body

Affinity = tuple[int, ...]
"""Hashes of the places where another request may have ended, the shortest prefix first."""

_PLACES = 16  # the last ones of a long conversation are enough
_SHORTEST = 64  # bytes of a text; below, it is evaluated sooner than it is looked for


class _Role(msgspec.Struct, gc=False):
    role: str = ""


class _Content(msgspec.Struct, gc=False):
    messages: list[msgspec.Raw] = []
    prompt: msgspec.Raw = msgspec.Raw(b"")
    system: msgspec.Raw = msgspec.Raw(b"")  # Anthropic's
    tools: msgspec.Raw = msgspec.Raw(b"")


_decode = msgspec.json.Decoder(_Content).decode
_decode_role = msgspec.json.Decoder(_Role).decode


def affinity_of(body: Body) -> Affinity:
    """Return what a valid JSON body goes on with; nothing where that cannot be said."""
    try:
        content = _decode(body)
        if content.messages:
            return _of_messages(content)
    except msgspec.ValidationError:  # the engine will say what is wrong
        return ()
    return _of_text(bytes(content.prompt))


def _of_messages(content: _Content) -> Affinity:
    places = []
    so_far = hash((bytes(content.system), bytes(content.tools)))
    for message in content.messages:
        so_far = hash((so_far, bytes(message)))
        if _decode_role(message).role == "user":
            places.append(so_far)
    return tuple(places[-_PLACES:])


def _of_text(text: bytes) -> Affinity:
    places = []
    length = _SHORTEST
    while length < len(text):
        places.append(hash(text[:length]))
        length *= 2
    return tuple(places)
