"""What is asked once more in other words, where llama-server refuses what it should take."""

from __future__ import annotations

from typing import Any

from runnerd.relay.body import UNCACHED_END, unclosed
from runnerd.relay.engine import Buffer
from runnerd.relay.request_rewrites.alternating_turns import alternating
from runnerd.relay.request_rewrites.arguments import with_readable_calls
from runnerd.relay.request_rewrites.message_order import in_order, is_raised

_LOST_MEDIUM = "Chunk not found"
"""Said of a request with an image where a prompt that it has evaluated has the same one and another
right behind it: it cannot keep that much of it.
"""

_UNREAD_CALLS = (
    "Failed to parse tool call arguments",
    "Failed to parse messages",
    "[json.exception",
)
"""Said of calls that are not all there, and of other things that have not the type they should."""


def rewritten(body: tuple[Buffer, ...], error: dict[str, Any]) -> tuple[Buffer, ...] | None:
    """Return another body for a request that was refused with `error`; None: there is none."""
    message = str(error.get("message"))
    *pieces, end = body
    if message.endswith(_LOST_MEDIUM) and end is not UNCACHED_END:
        return (*pieces, unclosed(bytes(end)), UNCACHED_END)
    other = None
    if message.startswith(_UNREAD_CALLS):
        other = with_readable_calls(b"".join(body))
    elif is_raised(message):
        whole = b"".join(body)
        other = in_order(whole) or alternating(whole)
    return None if other is None else (other,)
