"""What is asked once more in other words, where llama-server refuses what it should take."""

from __future__ import annotations

from typing import Any

from runnerd.relay.body import UNCACHED_END, unclosed
from runnerd.relay.engine import Buffer
from runnerd.relay.request_rewrites.arguments import with_readable_arguments
from runnerd.relay.request_rewrites.message_order import in_order, is_raised

_LOST_MEDIUM = "Chunk not found"
"""Said of a request with an image where a prompt that it has evaluated has the same one and another
right behind it: it cannot keep that much of it.
"""

_UNREAD_ARGUMENTS = "Failed to parse tool call arguments"


def rewritten(body: tuple[Buffer, ...], error: dict[str, Any]) -> tuple[Buffer, ...] | None:
    """Return another body for a request that was refused with `error`; None: there is none."""
    message = str(error.get("message"))
    *pieces, end = body
    if message.endswith(_LOST_MEDIUM) and end is not UNCACHED_END:
        return (*pieces, unclosed(bytes(end)), UNCACHED_END)
    if message.startswith(_UNREAD_ARGUMENTS):
        read = with_readable_arguments(b"".join(body))
        return None if read is None else (read,)
    if is_raised(message):
        ordered = in_order(b"".join(body))
        return None if ordered is None else (ordered,)
    return None
