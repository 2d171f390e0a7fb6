"""Members that are null were not said: they are taken out before anything looks at a request.

Some clients write every field that they know, and the engine takes null for a value of a wrong
type in some of them.  Within a conversation the same holds for the members of a message, of which
only `content` may be null and mean it.
"""

from __future__ import annotations

import msgspec

from runnerd.relay.body import Body, decode_members

_NULL = msgspec.Raw(b"null")

_decode_messages = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


def without_nulls(body: Body) -> Body:
    """The body without members that are null.

    What is no JSON object stays as it is, for whoever refuses it.
    """
    if b"null" not in body:
        return body
    try:
        members = decode_members(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body
    said = {name: raw for name, raw in members.items() if raw != _NULL}
    messages = said.get("messages")
    if messages is not None and b"null" in bytes(messages):
        said["messages"] = _without_nulls(messages)
    return msgspec.json.encode(said)


def _without_nulls(messages: msgspec.Raw) -> msgspec.Raw:
    """A conversation whose messages have no null but for their content."""
    try:
        found = _decode_messages(messages)
    except msgspec.MsgspecError:
        return messages
    kept = [
        {name: raw for name, raw in message.items() if raw != _NULL or name == "content"}
        for message in found
    ]
    return msgspec.Raw(msgspec.json.encode(kept))
