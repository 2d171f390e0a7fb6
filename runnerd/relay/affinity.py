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

from runnerd.relay.body import ABSENT, Inference

Affinity = tuple[int, ...]
"""Hashes of the places where another request may have ended, the shortest prefix first."""

_PLACES = 16  # the last ones of a long conversation are enough
_SHORTEST = 64  # bytes of a text; below, it is evaluated sooner than it is looked for


class _Role(msgspec.Struct, gc=False):
    role: str = ""


_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_role = msgspec.json.Decoder(_Role).decode


def affinity_of(fields: Inference, session: str = "") -> Affinity:
    """The places in what a request says where another one may have ended; none where that cannot be
    said.  Of a session there is one place, whatever it says.
    """
    if session:
        return (hash(("session", session)),)
    try:
        messages = _decode_list(fields.messages) if fields.messages not in ABSENT else []
        if messages:
            return _of_messages(messages, fields)
    except msgspec.ValidationError:  # the engine will say what is wrong
        return ()
    return _of_text(bytes(fields.prompt))


def _of_messages(messages: list[msgspec.Raw], fields: Inference) -> Affinity:
    places = []
    so_far = hash((bytes(fields.system), bytes(fields.tools)))
    for message in messages:
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
