"""Whether a stream has said all that its client waits for.

Clients leave when they have read the last event of their API.  The end of the engine's response,
HTTP's last chunk, may come behind it by itself, and nobody waits for that.
"""

from __future__ import annotations

_LAST = (
    b"data: [DONE]",
    b"event: message_stop",
    b"event: response.completed",
    b"event: response.incomplete",
)
_ENDS = (b"\n\n", b"\r\n\r\n")


def has_last_event(piece: bytes) -> bool:
    """Whether the last event of a stream is in a piece of it, whole.

    A text cannot be mistaken for it: inside a JSON string a line does not begin.
    """
    for mark in _LAST:
        start = 0 if piece.startswith(mark) else piece.rfind(b"\n" + mark)
        if start >= 0 and any(piece.find(end, start + len(mark)) >= 0 for end in _ENDS):
            return True
    return False
